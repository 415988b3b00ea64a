"""Chooses sample answers: the first prompt of each length and language, with every model's answer; pure."""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.pages.display import words
from lwexp.records import AnswerCheck, Response
from lwexp.report.aggregation import ScoredResponse
from lwexp.report.answers.places import cut_middle, places
from lwexp.report.evaluations import Evaluation
from lwexp.text.plain import visible

# Bytes of sample text in one page; longer answers are cut in the middle, and the page says where.
TEXT_BUDGET = 500_000
_MOST_LENGTHS = 8


class Shown(NamedTuple):
    """One model's answer; if it is long, ``text`` is shortened in the middle."""

    evaluation: Evaluation
    answer: ScoredResponse | None
    text: str = ""


class Sample(NamedTuple):
    """One prompt, taken from its first answer, with all answers; ``group`` is the value to filter by."""

    group: str
    asked: Response
    shown: tuple[Shown, ...]


def choose(evaluations: Sequence[Evaluation]) -> list[Sample]:
    """The first prompt in bench order of each group and language, first repeat: never picked by hand."""
    everything = [answer.response for each in evaluations for answer in each.answers]
    by_length = len({response.required_words for response in everything}) <= _MOST_LENGTHS
    first: dict[tuple[int, str, str], Response] = {}
    for response in everything:
        place, group = _group(response.required_words, evaluations[0], by_length=by_length)
        first.setdefault((place, group, response.language), response)
    limit = TEXT_BUDGET // max(1, len(first) * len(evaluations))
    by_prompt = [
        {answer.response.prompt_id: answer for answer in sorted(each.answers, key=lambda a: -a.response.repeat)}
        for each in evaluations
    ]
    return [
        Sample(group, asked, tuple(
            _shown(each, answers.get(asked.prompt_id), limit)
            for each, answers in zip(evaluations, by_prompt, strict=True)
        ))
        for (_, group, _), asked in sorted(first.items(), key=lambda item: (item[0][0], item[0][2]))
    ]  # fmt: skip


def _group(required: int | None, evaluation: Evaluation, *, by_length: bool) -> tuple[int, str]:
    """Sort position of a length among the samples, and the name of its group."""
    if required is None:
        return 0, "no length"
    if by_length:
        return required, f"{words(required)} words"
    ranges = ((part.low, f"{part.label} words") for part in evaluation.ranges if required in part)
    return next(ranges, (10**9, "other lengths"))


def _shown(evaluation: Evaluation, answer: ScoredResponse | None, limit: int) -> Shown:
    if answer is None or answer.is_missing:
        return Shown(evaluation, None)
    check = evaluation.diagnostics.checks.get(answer.response.id)
    return Shown(evaluation, answer, cut_middle(visible(marked(answer, check)).strip(), limit)[0])


def marked(answer: ScoredResponse, check: AnswerCheck | None) -> str:
    """The text, with a line where the model begins to play the next turn, or to repeat itself."""
    text = answer.response.text
    for place in sorted(places(answer.response, check), reverse=True):
        if place.kind != "sign":
            text = f"{text[: place.start].rstrip()}\n\n[ {place.said} here ]\n\n{text[place.start :]}"
    return text
