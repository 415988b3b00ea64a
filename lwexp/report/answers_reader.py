"""Every answer of a report, to search and read. One entry is a prompt and repeat, with the answer of every model."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lwexp.pages.display import LANGUAGES, plural, score, words
from lwexp.pages.packed import Packer
from lwexp.report.diagnostics import signs
from lwexp.report.evaluations import all_metrics
from lwexp.report.findings import Row
from lwexp.report.samples import cut_middle
from lwexp.report.tables import ScoredResponse
from lwexp.report.view import GroupView
from lwexp.text.plain import one_line, visible

# Bytes of all answers together, before compression (a third to a half of it after): beyond it each answer is cut
# in its middle to an equal share, and says so. 2 models x 120 answers of 20,000 English words take 29 MB.
TEXT_BUDGET = 32_000_000
_TITLE = 160
_MOST_IN_LIST = 6  # models whose word counts the list shows
_FACETS = {"bench": "Bench", "range": "Asked for", "language": "Language", "type": "Type", "sign": "Sign"}


class AnswersReader(NamedTuple):
    """What the template needs. ``choices`` are label, name and (value, title, entries) of each filter."""

    packed: list[str]
    choices: list[tuple[str, str, list[tuple[str, str, int]]]]
    scores: list[tuple[str, str]]
    summary: str
    noun: str
    n_shortened: int


def read_answers(views: Sequence[GroupView]) -> AnswersReader:
    """All answers of all groups, prompt by prompt in bench order."""
    total = sum(len(row.evaluation.answers) for view in views for row in view.rows)
    limit = TEXT_BUDGET // max(1, total)
    metrics = all_metrics(row.evaluation for view in views for row in view.rows)
    packer = Packer(tuple(_FACETS), ("words", *(metric.name for metric in metrics)))
    prompts: dict[tuple[str, str], int] = {}
    n_shortened = 0
    for view in views:
        for (prompt, repeat), entry in _entries(view).items():
            n_shortened += _add(packer, view, entry, limit)
            prompts[view.group.bench, prompt] = max(repeat + 1, prompts.get((view.group.bench, prompt), 0))
    choices = [
        (label, name, [(value, LANGUAGES.get(value, value) if name == "language" else value, n) for value, n in found])
        for name, label in _FACETS.items()
        if len(found := list(packer.choices[name].items())) > 1 or (name == "sign" and found)
    ]
    repeats = max(prompts.values(), default=1)
    counted = plural(len(prompts), "prompt") + (f" \N{MULTIPLICATION SIGN} {repeats}" if repeats > 1 else "")
    noun = "prompts" if repeats == 1 else f"({counted})"
    if len(packer) != len(prompts) * repeats:
        counted, noun = f"{plural(len(prompts), 'prompt')}, asked up to {repeats} times", "repeats of prompts"
    scores = [(metric.name, metric.label) for metric in metrics]
    return AnswersReader(packer.pack(), choices, scores, f"{plural(total, 'answer')} to {counted}", noun, n_shortened)


def _entries(view: GroupView) -> dict[tuple[str, int], list[tuple[Row, ScoredResponse]]]:
    found: dict[tuple[str, int], list[tuple[Row, ScoredResponse]]] = {}
    for row in view.rows:
        for answer in row.evaluation.answers:
            found.setdefault((answer.response.prompt_id, answer.response.repeat), []).append((row, answer))
    return found


def _add(packer: Packer, view: GroupView, entry: list[tuple[Row, ScoredResponse]], limit: int) -> int:
    """Add one prompt with its answers; returns how many of them were shortened."""
    row, first = entry[0]
    asked = first.response
    length = [] if asked.required_words is None else [f"{asked.required_words:,}"]
    ranges = [part.label for part in row.evaluation.ranges if asked.required_words in part] or ["other lengths"]
    shortened = 0
    panels: list[dict[str, Any]] = []
    found: dict[str, None] = {}
    for row, answer in entry:
        text, left_out = cut_middle(visible(answer.response.text).strip(), limit)
        shortened += left_out > 0
        panels.append(_panel(row, answer, text))
        found.update(dict.fromkeys(signs(answer, row.evaluation.diagnostics)))
    values = {m.name: [(answer.scores.get(m.name), m.decimals) for _, answer in entry] for m in view.metrics}
    kind = one_line(asked.type, 60)
    packer.add(
        asked.prompt_id + (f", repeat {asked.repeat + 1}" if asked.repeat else ""),
        one_line(asked.prompt, _TITLE),
        asked.language,
        meta=[
            *([f"{n} asked", ""] for n in length),
            *([words(answer.response.words), "got", row.place] for row, answer in entry[:_MOST_IN_LIST]),
            *([sign, "note"] for sign in found),
        ],
        facets={"bench": [view.group.bench], "range": ranges[:1] if length else [],
                "language": [asked.language], "type": [kind], "sign": list(found)},
        measures={
            "words": [answer.response.words for _, answer in entry],
            **{n: [round(value, digits) for value, digits in v if value is not None] for n, v in values.items()},
        },
        detail={"ask": asked.prompt, "about": [*(f"{n} words" for n in length), *([kind] if kind else [])],
                "groups": [["answers", panels]]},
    )  # fmt: skip
    return shortened


def _panel(row: Row, answer: ScoredResponse, text: str) -> dict[str, Any]:
    response, check = answer.response, row.evaluation.diagnostics.checks.get(answer.response.id)
    fine = [f"Unscored: {answer.reason}"] if answer.reason else []
    if check and check.directed:
        fine.append(f"Talks to the judge: {', '.join(check.directed)}")
    known = [(metric, answer.scores.get(metric.name)) for metric in row.evaluation.metrics]
    scores = [[metric.label, score(value, metric.decimals)] for metric, value in known if value is not None]
    asked = response.required_words
    ratio = f", {response.words / asked:.2f}\N{MULTIPLICATION SIGN} asked" if asked else ""
    return {
        "kind": "answer card", "name": row.label, "place": row.place, "text": text, "fine": fine,
        "facts": [["words", f"{response.words:,}{ratio}"], *scores],
        "tags": [[sign, "tag"] for sign in signs(answer, row.evaluation.diagnostics)],
    }  # fmt: skip
