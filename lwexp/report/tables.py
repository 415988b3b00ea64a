"""From responses and verdicts to cells: means with intervals, per range, language and repeat; pure.

S_bar of an answer is (S_l + S_q) / 2 and exists only where both do. A missing score is counted as
unscored and enters no mean: it is not zero. A cell's mean is the mean over prompts of the mean over
that prompt's scored repeats, so a prompt with an unscored repeat weighs as much as any other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import NamedTuple

from lwexp.config.evaluate import WordRange
from lwexp.records import Response, Verdict
from lwexp.report.intervals import Interval, interval
from lwexp.text.plain import one_line


class Answer(NamedTuple):
    """A response with what its verdicts say."""

    response: Response
    length: float | None
    quality: float | None
    reason: str | None
    """Why there is no quality score; None where there is one, or where none was asked for."""

    @property
    def both(self) -> float | None:
        """S_bar of this answer."""
        if self.length is None or self.quality is None:
            return None
        return (self.length + self.quality) / 2


Part = Callable[[Answer], float | None]
PARTS: dict[str, Part] = {
    "S_l": lambda answer: answer.length,
    "S_q": lambda answer: answer.quality,
    "S_bar": lambda answer: answer.both,
}


class Joined(NamedTuple):
    """Answers in the order of their ids' first appearance, and what did not fit."""

    answers: tuple[Answer, ...]
    n_repeated_ids: int
    n_orphan_verdicts: int


class Score(NamedTuple):
    """One score of one cell."""

    mean: float | None
    interval: Interval | None
    n: int
    n_unscored: int
    by_repeat: tuple[float | None, ...]

    @property
    def spread(self) -> Interval | None:
        """Lowest and highest repeat; None where there is only one."""
        known = [mean for mean in self.by_repeat if mean is not None]
        return (min(known), max(known)) if len(known) > 1 else None


class Cell(NamedTuple):
    """One model on one set of prompts. ``n`` counts answers; ``n_cut`` those that hit the token limit."""

    n: int
    n_prompts: int
    n_empty: int
    n_cut: int
    scores: dict[str, Score]
    max_words: int | None
    median_words: float | None


class RulerPoint(NamedTuple):
    """What was produced where ``required`` words were asked for."""

    required: int
    n: int
    lowest: int
    median: float
    highest: int


def join(responses: Iterable[Response], verdicts: Iterable[Verdict], judge: str | None) -> Joined:
    """Put each verdict with its response, by id; where an id comes twice, the later row counts.

    Args:
        responses: All answers of one evaluation.
        verdicts: In any order.
        judge: Whose quality verdicts count; None takes none.
    """
    by_id: dict[str, Response] = {}
    n_rows = 0
    for response in responses:
        by_id[response.id] = response
        n_rows += 1
    wanted = [v for v in verdicts if v.kind == "length" or v.scorer == judge]
    latest = {(verdict.response_id, verdict.kind): verdict for verdict in wanted}
    answers = tuple(
        _answer(response, latest.get((response.id, "length")), latest.get((response.id, "quality")), judge)
        for response in by_id.values()
    )
    orphans = sum(response_id not in by_id for response_id, _ in latest)
    return Joined(answers, n_rows - len(by_id), orphans)


def _answer(response: Response, length: Verdict | None, quality: Verdict | None, judge: str | None) -> Answer:
    reason = None
    if judge is not None and (quality is None or quality.score is None):
        reason = (quality.unscored_reason if quality else None) or ("no reason given" if quality else "no verdict")
    return Answer(response, length.score if length else None, quality.score if quality else None, reason)


def prompt_means(answers: Iterable[Answer], part: str) -> dict[str, float]:
    """Prompt id -> mean of the part over the prompt's scored repeats; prompts without one are absent."""
    values: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        value = PARTS[part](answer)
        if value is not None:
            values[answer.response.prompt_id].append(value)
    return {prompt: fmean(scores) for prompt, scores in values.items()}


def cell(answers: Sequence[Answer]) -> Cell:
    """Aggregate one model's answers to one set of prompts."""
    lengths = [answer.response.words for answer in answers]
    return Cell(
        n=len(answers),
        n_prompts=len({answer.response.prompt_id for answer in answers}),
        n_empty=sum(length == 0 for length in lengths),
        n_cut=sum(answer.response.finish_reason == "length" for answer in answers),
        scores={part: _score(answers, part) for part in PARTS},
        max_words=max(lengths, default=None),
        median_words=median(lengths) if lengths else None,
    )


def _score(answers: Sequence[Answer], part: str) -> Score:
    n = sum(PARTS[part](answer) is not None for answer in answers)
    means = list(prompt_means(answers, part).values())
    repeats = sorted({answer.response.repeat for answer in answers})
    by_repeat = [
        list(prompt_means([a for a in answers if a.response.repeat == repeat], part).values()) for repeat in repeats
    ]
    return Score(
        mean=fmean(means) if means else None,
        interval=interval(means),
        n=n,
        n_unscored=len(answers) - n,
        by_repeat=tuple(fmean(values) if values else None for values in by_repeat),
    )


def per_range(answers: Sequence[Answer], ranges: Sequence[WordRange]) -> dict[str, Cell]:
    """Range label -> cell. Answers outside every range form a last row, so that rows add up to all."""
    cells = {}
    for part in ranges:
        cells[part.label] = cell([a for a in answers if a.response.required_words in part])
    outside = [a for a in answers if not any(a.response.required_words in part for part in ranges)]
    if outside and ranges:
        cells["outside all ranges"] = cell(outside)
    return cells


def per_language(answers: Sequence[Answer]) -> dict[str, Cell]:
    """Language code -> cell, for the languages there are."""
    languages = sorted({answer.response.language for answer in answers})
    return {code: cell([a for a in answers if a.response.language == code]) for code in languages}


def per_type(answers: Sequence[Answer]) -> dict[str, Cell]:
    """Type of prompt (literature, news, ...) as a page shows it -> cell; nothing where all prompts are of one type."""
    named = [(one_line(answer.response.type, 60), answer) for answer in answers]
    types = sorted({name for name, _ in named})
    if len(types) < 2:
        return {}
    return {name: cell([answer for own, answer in named if own == name]) for name in types}


def ruler(answers: Sequence[Answer]) -> list[RulerPoint]:
    """The Ruler curve: one point for each required length, ascending."""
    produced: dict[int, list[int]] = defaultdict(list)
    for answer in answers:
        produced[answer.response.required_words].append(answer.response.words)
    return [
        RulerPoint(required, len(counts), min(counts), median(counts), max(counts))
        for required, counts in sorted(produced.items())
    ]


def seeds(answers: Sequence[Answer]) -> list[int | None]:
    """Sampling seed of each repeat; None where a repeat's answers do not share one."""
    by_repeat: dict[int, set[int]] = defaultdict(set)
    for answer in answers:
        if answer.response.sampling is not None:
            by_repeat[answer.response.repeat].add(answer.response.sampling.seed)
    return [next(iter(found)) if len(found) == 1 else None for _, found in sorted(by_repeat.items())]
