"""Turns responses and verdicts into cells: means with intervals, per range, language and repeat; pure.

A missing answer is counted as missing and enters nothing else. An answer without a score is counted as
unscored and enters no mean; it is not treated as zero. A cell's mean is the mean over
prompts of the mean over that prompt's scored repeats, so a prompt with an unscored repeat weighs as much
as any other.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from lwexp.extend.word_range import WordRange
from lwexp.records import AnswerCheck, MetricInfo, Response, Verdict
from lwexp.stats import scores as stats
from lwexp.stats.intervals import Interval, interval
from lwexp.text.plain import one_line
from lwexp.text.words import score_length


class ScoredResponse(NamedTuple):
    """A response with its scores."""

    response: Response
    scores: Mapping[str, float | None]
    """Metric name -> score, in the order of the metrics; None: unscored; absent: the metric does not apply to it."""
    reason: str | None
    """Why a judge gave no score; None if it gave one, if no score was requested, or if the answer is missing."""

    clean_words: int | None = None
    """Words of the text without loops and without next turns played by the model; None if this was not checked."""

    judged: tuple[Verdict, ...] = ()
    """Verdicts of judged metrics, by any judge."""

    @property
    def is_missing(self) -> bool:
        """Whether there is no answer; an empty answer is not missing."""
        return self.response.finish_reason == "error"


class Joined(NamedTuple):
    """Answers in the order in which their ids first appear, and counts of what could not be joined."""

    answers: tuple[ScoredResponse, ...]
    n_repeated_ids: int
    n_orphan_verdicts: int


class Score(NamedTuple):
    """One score of one cell. The defaults describe a metric that scored no answer of the cell."""

    mean: float | None = None
    interval: Interval | None = None
    n: int = 0
    n_unscored: int = 0
    by_repeat: tuple[float | None, ...] = ()

    @property
    def spread(self) -> Interval | None:
        """Lowest and highest repeat; None if there is only one."""
        known = [mean for mean in self.by_repeat if mean is not None]
        return (min(known), max(known)) if len(known) > 1 else None


class Scores(dict[str, Score]):
    """Metric name -> score of a cell."""

    def __missing__(self, name: str) -> Score:
        return Score()


class Cell(NamedTuple):
    """One model on one set of prompts. Only ``n_missing`` and ``asked_prompts`` include missing answers."""

    n: int
    n_missing: int
    n_prompts: int
    """Prompts with at least one answer."""
    asked_prompts: int
    n_empty: int
    n_cut: int | None
    """Answers that hit the token limit; None if no answer says how it ended."""
    scores: Scores
    max_words: int | None
    median_words: float | None
    max_clean_words: int | None = None
    """Words of the longest text without loops and next turns; None if unknown."""
    clean_length: float | None = None
    """S_l of the texts without loops and next turns; None if unknown, or if the bench has no S_l."""
    volatility: Score = Score()
    """Of the length of repeated answers, in percent: 0 if they are equally long; ``n`` counts prompts."""

    @property
    def asked(self) -> int:
        """Number of requested answers, including missing ones."""
        return self.n + self.n_missing


class RulerPoint(NamedTuple):
    """Words produced when ``required`` words were requested."""

    required: int
    n: int
    lowest: int
    median: float
    highest: int


def join(
    responses: Iterable[Response],
    verdicts: Iterable[Verdict],
    judge: str | None,
    metrics: Sequence[MetricInfo],
    checks: Mapping[str, AnswerCheck] | None = None,
) -> Joined:
    """Join verdicts to responses by id; if an id is repeated, the later row counts.

    Args:
        responses: All answers of one evaluation.
        verdicts: In any order.
        judge: The scorer whose verdicts count for judged metrics; None ignores all of them.
        metrics: The metrics of the evaluation.
        checks: By response id, if there are any.
    """
    by_id: dict[str, Response] = {}
    n_rows = 0
    for response in responses:
        by_id[response.id] = response
        n_rows += 1
    judged = [metric.kind for metric in metrics if metric.needs_judge and not metric.of]
    given = list(verdicts)
    by_judges: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in given:
        if verdict.kind in judged:
            by_judges[verdict.response_id].append(verdict)
    wanted = [v for v in given if v.kind not in judged or v.scorer == judge]
    latest = {(verdict.response_id, verdict.kind): verdict for verdict in wanted}
    scores = stats.scores_by_answer(wanted, metrics)
    answers = []
    for id, response in by_id.items():
        applying = [m.name for m in metrics if response.required_words is not None or not m.needs_length]
        own = {name: scores.get(id, {}).get(name) for name in applying}
        is_judged = judge is not None and response.finish_reason != "error"
        reasons = [_why_unscored(latest.get((id, kind))) for kind in judged] if is_judged else []
        clean = checks[id].clean_words if checks and id in checks else None
        why = next((reason for reason in reasons if reason), None)
        answers.append(ScoredResponse(response, own, why, clean, tuple(by_judges.get(id, ()))))
    orphans = sum(response_id not in by_id for response_id, _ in latest)
    return Joined(tuple(answers), n_rows - len(by_id), orphans)


def _why_unscored(verdict: Verdict | None) -> str | None:
    if verdict is None:
        return "no verdict"
    return None if verdict.score is not None else verdict.unscored_reason or "no reason given"


def prompt_means(answers: Iterable[ScoredResponse], name: str) -> dict[str, float]:
    """Prompt id -> mean of a metric over the prompt's scored repeats; prompts without one are absent."""
    return stats.prompt_means(((answer.response.prompt_id, answer.scores) for answer in answers), name)


def cell(answers: Sequence[ScoredResponse], metrics: Sequence[MetricInfo] = ()) -> Cell:
    """Aggregate one model's answers to one set of prompts.

    Args:
        answers: All answers, including missing ones.
        metrics: Give the scales, at whose ends intervals are cut.
    """
    scales = {metric.name: metric.scale for metric in metrics}
    came = [answer for answer in answers if not answer.is_missing]
    lengths = [answer.response.words for answer in came]
    ends = [reason for answer in came if (reason := answer.response.finish_reason) != "unknown"]
    return Cell(
        n=len(came),
        n_missing=len(answers) - len(came),
        n_prompts=len({answer.response.prompt_id for answer in came}),
        asked_prompts=len({answer.response.prompt_id for answer in answers}),
        n_empty=sum(length == 0 for length in lengths),
        n_cut=ends.count("length") if ends or not came else None,
        scores=Scores(
            {name: _score(came, name, scales.get(name)) for name in dict.fromkeys(n for a in came for n in a.scores)}
        ),
        max_words=max(lengths, default=None),
        median_words=median(lengths) if lengths else None,
        max_clean_words=max((answer.clean_words for answer in came if answer.clean_words is not None), default=None),
        clean_length=length_by_words(came, [answer.clean_words for answer in came]),
        volatility=_volatility(came),
    )


def _volatility(answers: Sequence[ScoredResponse]) -> Score:
    found = stats.length_volatility((answer.response.prompt_id, answer.response.words) for answer in answers)
    values = list(found.values())
    return Score(fmean(values), interval(values, within=(0, math.inf)), len(values)) if values else Score()


def length_by_words(answers: Sequence[ScoredResponse], words: Sequence[int | None]) -> float | None:
    """S_l computed from other word counts; None if the answers have no S_l, or a count is unknown."""
    scored: list[tuple[str, dict[str, float | None]]] = []
    for answer, number in zip(answers, words, strict=True):
        asked = answer.response.required_words
        if answer.scores.get("S_l") is not None and asked is not None:
            if number is None:
                return None
            scored.append((answer.response.prompt_id, {"S_l": score_length(asked, number)}))
    means = stats.prompt_means(scored, "S_l").values()
    return fmean(means) if means else None


def _score(answers: Sequence[ScoredResponse], name: str, scale: Interval | None) -> Score:
    values = [answer.scores[name] for answer in answers if name in answer.scores]
    n = sum(value is not None for value in values)
    means = list(prompt_means(answers, name).values())
    by_repeat: dict[int, list[ScoredResponse]] = defaultdict(list)
    for answer in answers:
        by_repeat[answer.response.repeat].append(answer)
    repeats = [list(prompt_means(own, name).values()) for _, own in sorted(by_repeat.items())]
    return Score(
        mean=fmean(means) if means else None,
        interval=interval(means, within=scale),
        n=n,
        n_unscored=len(values) - n,
        by_repeat=tuple(fmean(values) if values else None for values in repeats),
    )


def main_metric(metrics: Sequence[MetricInfo], cells: Sequence[Cell]) -> MetricInfo:
    """The metric for a sentence or figure about several models: a mean of metrics if all models have one."""
    scored = [metric for metric in metrics if all(part.scores[metric.name].n for part in cells)]
    return next((metric for metric in scored if metric.of), (scored or list(metrics))[0])


def best_first(metric: MetricInfo) -> Callable[[float | None], float]:
    """A sort key for means, the best one first."""
    return lambda mean: (-1 if metric.higher_is_better else 1) * (mean or 0)


def n_unscored(part: Cell, metrics: Sequence[MetricInfo]) -> int:
    """Answers without a judged score, or without any score if no metric needs a judge."""
    wanted = [m.name for m in metrics if m.needs_judge and not m.of] or [m.name for m in metrics]
    return max((part.scores[name].n_unscored for name in wanted), default=0)


def per_range(
    answers: Sequence[ScoredResponse], ranges: Sequence[WordRange], metrics: Sequence[MetricInfo] = ()
) -> dict[str, Cell]:
    """Range label -> cell. Answers outside every range form a last row, so that rows add up to all.

    Answers to prompts without a length are left out.
    """
    asked = [answer for answer in answers if answer.response.required_words is not None]
    cells = {part.label: cell([a for a in asked if a.response.required_words in part], metrics) for part in ranges}
    outside = [a for a in asked if not any(a.response.required_words in part for part in ranges)]
    return {**cells, "outside all ranges": cell(outside, metrics)} if outside and ranges else cells


def per_language(answers: Sequence[ScoredResponse], metrics: Sequence[MetricInfo] = ()) -> dict[str, Cell]:
    """Language code -> cell, for the languages that occur."""
    return _per(answers, [answer.response.language for answer in answers], metrics)


def per_type(answers: Sequence[ScoredResponse], metrics: Sequence[MetricInfo] = ()) -> dict[str, Cell]:
    """Type of prompt (literature, news, ...) as shown on a page -> cell; empty if all prompts have one type."""
    found = _per(answers, [one_line(answer.response.type, 60) for answer in answers], metrics)
    return found if len(found) > 1 else {}


def _per(answers: Sequence[ScoredResponse], values: Sequence[str], metrics: Sequence[MetricInfo]) -> dict[str, Cell]:
    pairs = list(zip(values, answers, strict=True))
    return {value: cell([answer for own, answer in pairs if own == value], metrics) for value in sorted(set(values))}


def ruler(answers: Sequence[ScoredResponse]) -> list[RulerPoint]:
    """The Ruler curve: one point for each required length, ascending."""
    produced: dict[int, list[int]] = defaultdict(list)
    for answer in answers:
        if answer.response.required_words is not None and not answer.is_missing:
            produced[answer.response.required_words].append(answer.response.words)
    return [RulerPoint(asked, len(n), min(n), median(n), max(n)) for asked, n in sorted(produced.items())]


def seeds(answers: Sequence[ScoredResponse]) -> list[int | None]:
    """Sampling seed of each repeat; None if a repeat's answers do not share one."""
    by_repeat: dict[int, set[int]] = defaultdict(set)
    for answer in answers:
        if answer.response.sampling is not None:
            by_repeat[answer.response.repeat].add(answer.response.sampling.seed)
    return [next(iter(found)) if len(found) == 1 else None for _, found in sorted(by_repeat.items())]
