"""The searchable reader of all answers. An entry is one repeat of one prompt, with the answers of all models."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from lwexp.pages.display import LANGUAGES, plural, score, words
from lwexp.pages.packed import Packer
from lwexp.report.aggregation import ScoredResponse
from lwexp.report.answers.places import MarkedText, places, shown
from lwexp.report.diagnostics import signs
from lwexp.report.evaluations import Evaluation, all_metrics
from lwexp.report.groups import Group
from lwexp.text.plain import one_line

# Bytes of all texts together, before compression (a third to a half of that after). Beyond it, the longest are
# shortened in the middle, with a note. 8 models x 500 answers of 1,300 English words take 38 MB.
TEXT_BUDGET = 64_000_000
_TITLE = 160
_MOST_IN_LIST = 6  # models whose word counts the list shows
_FACETS = {"bench": "Bench", "range": "Asked for", "language": "Language", "type": "Type", "sign": "Sign"}

Answers = list[tuple[Evaluation, ScoredResponse]]


class AnswersReader(NamedTuple):
    """What the template needs. ``choices`` holds each filter's label, name and (value, title, entries)."""

    packed: list[str]
    pack_index: Callable[[], Sequence[str]]
    choices: list[tuple[str, str, list[tuple[str, str, int]]]]
    scores: list[tuple[str, str]]
    summary: str
    noun: str
    n_shortened: int


def read_answers(groups: Sequence[Group]) -> AnswersReader:
    """All answers of all groups, prompt by prompt in bench order."""
    total = sum(each.total.n for group in groups for each in group.evaluations)
    missing = sum(each.total.n_missing for group in groups for each in group.evaluations)
    limit = fair_share(_sizes(groups), TEXT_BUDGET)
    metrics = all_metrics(each for group in groups for each in group.evaluations)
    packer = Packer(tuple(_FACETS), ("words", *(metric.name for metric in metrics)), index_words=True)
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
    return AnswersReader(packer.pack(), packer.pack_index, choices, scores, summary, noun, n_shortened)


def _sizes(groups: Sequence[Group]) -> list[int]:
    answers = [answer.response for group in groups for each in group.evaluations for answer in each.came]
    return [
        len(text.encode("utf-8", errors="replace")) for row in answers for text in (row.text, row.reasoning) if text
    ]


def fair_share(sizes: Sequence[int], budget: int) -> int:
    """The largest limit for each text with which all texts together keep to the budget.

    Example:
        ``fair_share([1, 2, 9, 9], 13) == 5``: the two short ones leave 10 for the two long ones.
    """
    left, waiting = budget, len(sizes)
    for size in sorted(sizes):
        if size * waiting > left:
            return left // waiting
        left, waiting = left - size, waiting - 1
    return max(sizes, default=0)


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
    texts = [
        shown(answer.response.text, places(answer.response, each.diagnostics.checks.get(answer.response.id)), limit)
        for each, answer in answers
    ]
    panels = [_panel(*each, text, limit) for each, text in zip(answers, texts, strict=True)]
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
                "groups": [["answers", panels]]},
    )  # fmt: skip
    return sum(text.left_out > 0 for text in texts)


def _length(answer: ScoredResponse) -> str:
    return "missing" if answer.is_missing else words(answer.response.words)


def _known(values: Iterable[tuple[float | None, int]]) -> list[float]:
    return [round(value, decimals) for value, decimals in values if value is not None]


def _panel(evaluation: Evaluation, answer: ScoredResponse, text: MarkedText, limit: int) -> dict[str, Any]:
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
    panel = {
        "kind": "answer card", "name": evaluation.label, "place": evaluation.place, "text": text.text, "fine": fine,
        "facts": [*([] if answer.is_missing else [["words", f"{response.words:,}{ratio}"]]),
                  *([metric.label, score(value, metric.decimals)] for metric, value in known if value is not None)],
        "tags": [[sign, "tag"] for sign in signs(answer, evaluation.diagnostics)],
        "marks": text.marks, "judged": _judged(evaluation, answer),
        "thinking": shown(response.reasoning, (), limit).text,
    }  # fmt: skip
    return {key: value for key, value in panel.items() if value not in ("", []) or key == "text"}


def _judged(evaluation: Evaluation, answer: ScoredResponse) -> list[tuple[str, list[tuple[str, str, tuple[str, ...]]]]]:
    """Each judge's scores of an answer: a heading, and name, value and reasons of each dimension."""
    metrics = {metric.kind: metric for metric in evaluation.metrics}
    found = []
    for verdict in answer.judged:
        metric = metrics[verdict.kind]
        value = score(verdict.score, metric.decimals)
        value = f"unscored ({verdict.unscored_reason})" if verdict.score is None else value
        reasons = evaluation.diagnostics.reasons.get((answer.response.id, verdict.kind, verdict.scorer), {})
        names = dict.fromkeys([*verdict.dimensions, *reasons])
        rows = [(name.replace("_", " "), _plain(verdict.dimensions.get(name)), reasons.get(name, ())) for name in names]
        if rows or verdict.scorer != evaluation.judge:  # the judge's score alone is among the facts
            found.append((f"{metric.label} {value} by {verdict.scorer}", rows))
    return found


def _plain(value: float | None) -> str:
    """A dimension's value: 4, or 4.33 if it is the mean of several replies."""
    return "" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
