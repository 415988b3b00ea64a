"""The searchable reader of all answers. An entry is one repeat of one prompt, with the answers of all models."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lwexp.pages.display import LANGUAGES, plural, score, words
from lwexp.pages.packed import Packer
from lwexp.report.aggregation import ScoredResponse
from lwexp.report.answers.samples import cut_middle, marked
from lwexp.report.diagnostics import signs
from lwexp.report.evaluations import Evaluation, all_metrics
from lwexp.report.groups import Group
from lwexp.text.plain import one_line, visible

# Bytes of all answers together, before compression (a third to a half of that after). Beyond it, each answer is
# shortened in the middle to an equal share, with a note. 2 models x 120 answers of 20,000 English words take 29 MB.
TEXT_BUDGET = 32_000_000
_TITLE = 160
_MOST_IN_LIST = 6  # models whose word counts the list shows
_FACETS = {"bench": "Bench", "range": "Asked for", "language": "Language", "type": "Type", "sign": "Sign"}

Answers = list[tuple[Evaluation, ScoredResponse]]


class AnswersReader(NamedTuple):
    """What the template needs. ``choices`` holds each filter's label, name and (value, title, entries)."""

    packed: list[str]
    choices: list[tuple[str, str, list[tuple[str, str, int]]]]
    scores: list[tuple[str, str]]
    summary: str
    noun: str
    n_shortened: int


def read_answers(groups: Sequence[Group]) -> AnswersReader:
    """All answers of all groups, prompt by prompt in bench order."""
    total = sum(each.total.n for group in groups for each in group.evaluations)
    missing = sum(each.total.n_missing for group in groups for each in group.evaluations)
    limit = TEXT_BUDGET // max(1, total)
    metrics = all_metrics(each for group in groups for each in group.evaluations)
    packer = Packer(tuple(_FACETS), ("words", *(metric.name for metric in metrics)))
    prompts: dict[tuple[str, str], int] = {}
    n_shortened = 0
    for group in groups:
        for (prompt, repeat), answers in _by_prompt(group).items():
            n_shortened += _add(packer, group, answers, limit)
            prompts[group.bench, prompt] = max(repeat + 1, prompts.get((group.bench, prompt), 0))
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
    summary = f"{plural(total, 'answer')} to {counted}" + (f", {missing:,} missing" if missing else "")
    return AnswersReader(packer.pack(), choices, scores, summary, noun, n_shortened)


def _by_prompt(group: Group) -> dict[tuple[str, int], Answers]:
    found: dict[tuple[str, int], Answers] = {}
    for each in group.evaluations:
        for answer in each.answers:
            found.setdefault((answer.response.prompt_id, answer.response.repeat), []).append((each, answer))
    return found


def _add(packer: Packer, group: Group, answers: Answers, limit: int) -> int:
    """Add one prompt with its answers; returns how many of them were shortened."""
    asked = answers[0][1].response
    length = [] if asked.required_words is None else [f"{asked.required_words:,}"]
    ranges = [part.label for part in answers[0][0].ranges if asked.required_words in part] or ["other lengths"]
    texts = [cut_middle(visible(marked(answer)).strip(), limit) for _, answer in answers]
    found = list(dict.fromkeys(sign for each, answer in answers for sign in signs(answer, each.diagnostics)))
    values = {m.name: _known((answer.scores.get(m.name), m.decimals) for _, answer in answers) for m in group.metrics}
    kind = one_line(asked.type, 60)
    packer.add(
        asked.prompt_id + (f", repeat {asked.repeat + 1}" if asked.repeat else ""),
        one_line(asked.prompt, _TITLE),
        asked.language,
        meta=[
            *([f"{n} asked", ""] for n in length),
            *([_length(answer), "got", each.place] for each, answer in answers[:_MOST_IN_LIST]),
            *([sign, "note"] for sign in found),
        ],
        facets={"bench": [group.bench], "range": ranges[:1] if length else [],
                "language": [asked.language], "type": [kind], "sign": found},
        measures={"words": [answer.response.words for _, answer in answers if not answer.is_missing], **values},
        detail={"ask": asked.prompt, "about": [*(f"{n} words" for n in length), *([kind] if kind else [])],
                "groups": [["answers", [_panel(*each, text) for each, (text, _) in zip(answers, texts, strict=True)]]]},
    )  # fmt: skip
    return sum(left_out > 0 for _, left_out in texts)


def _length(answer: ScoredResponse) -> str:
    return "missing" if answer.is_missing else words(answer.response.words)


def _known(values: Iterable[tuple[float | None, int]]) -> list[float]:
    return [round(value, decimals) for value, decimals in values if value is not None]


def _panel(evaluation: Evaluation, answer: ScoredResponse, text: str) -> dict[str, Any]:
    response, check = answer.response, evaluation.diagnostics.checks.get(answer.response.id)
    fine = [f"Unscored: {answer.reason}"] if answer.reason else []
    if check and check.next_turn:
        fine.append(f"Plays the next turn of the chat (rule {check.next_turn})")
    if check and check.clean_words not in (None, response.words):
        fine.append(f"{check.clean_words:,} words without loops and next turns")
    if check and check.directed:
        fine.append(f"Addresses the judge: {', '.join(check.directed)}")
    known = [(metric, answer.scores.get(metric.name)) for metric in evaluation.metrics]
    asked = response.required_words
    ratio = f", {response.words / asked:.2f}\N{MULTIPLICATION SIGN} asked" if asked else ""
    return {
        "kind": "answer card", "name": evaluation.label, "place": evaluation.place, "text": text, "fine": fine,
        "facts": [*([] if answer.is_missing else [["words", f"{response.words:,}{ratio}"]]),
                  *([metric.label, score(value, metric.decimals)] for metric, value in known if value is not None)],
        "tags": [[sign, "tag"] for sign in signs(answer, evaluation.diagnostics)],
    }  # fmt: skip
