"""Tests whether a model differs from another: paired differences of their scores, by required length."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from lwexp.extend.word_range import WordRange
from lwexp.records import MetricInfo, Response, Verdict
from lwexp.runs.summaries import PairedDifference
from lwexp.stats.intervals import LEVEL, holm, paired_difference
from lwexp.stats.scores import prompt_means, scores_by_answer

ALL = "all"
Scored = tuple[Sequence[Response], Sequence[Verdict]]


def regression(
    ours: Scored, other: Scored, ranges: Sequence[WordRange], metrics: Sequence[MetricInfo]
) -> dict[str, dict[str, PairedDifference]]:
    """Range label -> metric name -> both means, their difference over the prompts both have, and its interval.

    ``is_worse`` and ``is_better`` are set if the p value is below 5% after Holm's correction over all cells, and the
    interval is on one side of 0. So at most 5 of 100 comparisons of equal models mark any cell. Metrics without a
    prompt scored on both sides are absent, and so is a range that holds all prompts, because it is "all" once more.
    """
    lengths = {response.prompt_id: response.required_words for response in ours[0]}
    tests: dict[str, Callable[[int | None], bool]] = {ALL: lambda words: True}
    tests |= {part.label: part.__contains__ for part in ranges}
    scores = [scores_by_answer(verdicts, metrics) for _, verdicts in (ours, other)]
    cells: list[tuple[str, MetricInfo, PairedDifference]] = []
    for label, is_inside in tests.items():
        for metric in metrics:
            mine, theirs = (
                prompt_means(((r.prompt_id, by_id.get(r.id, {})) for r in responses), metric.name)
                for by_id, (responses, _) in zip(scores, (ours, other), strict=True)
            )
            inside = {prompt: score for prompt, score in mine.items() if is_inside(lengths[prompt])}
            if label != ALL and inside.keys() & theirs.keys() == mine.keys() & theirs.keys():
                continue  # the cell of all prompts once more, which would cost Holm's correction a second test
            cell = _cell(inside, theirs)
            if cell is not None:
                cells.append((label, metric, cell))
    return _marked(cells)


def _cell(mine: Mapping[str, float], theirs: Mapping[str, float]) -> PairedDifference | None:
    difference = paired_difference(mine, theirs)
    if difference is None:
        return None
    shared = mine.keys() & theirs.keys()
    return PairedDifference(
        n=difference.n_prompts,
        ours=fmean(mine[prompt] for prompt in shared),
        other=fmean(theirs[prompt] for prompt in shared),
        difference=difference.mean,
        interval=difference.interval,
        p_value=difference.p_value,
        is_worse=False,
    )


def _marked(cells: Sequence[tuple[str, MetricInfo, PairedDifference]]) -> dict[str, dict[str, PairedDifference]]:
    """The cells by range and metric, marked as worse or better after Holm's correction over all of them."""
    tested = [cell.p_value for _, _, cell in cells if cell.p_value is not None]
    adjusted = iter(holm(tested))
    found: dict[str, dict[str, PairedDifference]] = {}
    for label, metric, cell in cells:
        p = None if cell.p_value is None else next(adjusted)
        ends = cell.interval or (0.0, 0.0)
        is_clear = p is not None and p < LEVEL and ends[0] * ends[1] > 0
        is_higher = cell.difference > 0
        marks = {"p_holm": p, "is_worse": is_clear and is_higher is not metric.higher_is_better}
        marks["is_better"] = is_clear and is_higher is metric.higher_is_better
        found.setdefault(label, {})[metric.name] = cell.model_copy(update=marks)
    return found
