"""Chooses sample answers: the first prompt of each length and language, with every model's answer; pure."""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.pages.display import words
from lwexp.records import Response
from lwexp.report.aggregation import ScoredResponse
from lwexp.report.evaluations import Evaluation
from lwexp.text.loops import end_of_first_passage
from lwexp.text.next_turn import find_next_turn
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
    return Shown(evaluation, answer, cut_middle(visible(marked(answer)).strip(), limit)[0])


def marked(answer: ScoredResponse) -> str:
    """The text, with a line where the model begins to play the next turn, or to repeat itself."""
    text = answer.response.text
    if answer.clean_words in (None, answer.response.words):
        return text
    turn = find_next_turn(text)
    own = text[: turn.start] if turn else text
    repeats = end_of_first_passage(own)
    places = [(turn.start, "the next turn begins")] if turn else []
    places += [(repeats, "the loop begins to repeat itself")] if repeats is not None else []
    for at, said in sorted(places, reverse=True):
        text = f"{text[:at].rstrip()}\n\n[ {said} here ]\n\n{text[at:]}"
    return text


def cut_middle(text: str, limit: int) -> tuple[str, int]:
    """At most about ``limit`` bytes of a text: two thirds from its start, one from its end.

    Returns:
        The text, with a line saying what is missing, and the number of characters left out.
    """
    size = len(text.encode("utf-8", errors="replace"))
    if size <= limit:
        return text, 0
    kept = limit * len(text) // size
    start, end = 2 * kept // 3, kept - 2 * kept // 3
    left_out = len(text) - start - end
    note = f"\n\n[ {left_out:,} characters left out here; the whole answer is in responses.jsonl ]\n\n"
    return text[:start] + note + text[len(text) - end :], left_out
