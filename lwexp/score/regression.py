"""Whether a model is worse than another where it must not be: paired differences by required length. Pure."""

from collections.abc import Callable, Sequence
from statistics import fmean

from lwexp.extend.word_range import WordRange
from lwexp.records import MetricInfo, Response, Verdict
from lwexp.runs.summaries import PairedDifference
from lwexp.stats.intervals import paired_difference
from lwexp.stats.scores import prompt_means, scores_by_answer

ALL = "all"
Scored = tuple[Sequence[Response], Sequence[Verdict]]


def regression(
    ours: Scored, other: Scored, ranges: Sequence[WordRange], metrics: Sequence[MetricInfo]
) -> dict[str, dict[str, PairedDifference]]:
    """Range label -> metric name -> both means, their difference over the prompts both have, and its interval.

    ``is_worse`` where the whole 95% interval of ours minus other lies on the wrong side of 0. Metrics that have no
    prompt scored on both sides are absent.
    """
    lengths = {response.prompt_id: response.required_words for response in ours[0]}
    tests: dict[str, Callable[[int | None], bool]] = {ALL: lambda words: True}
    tests |= {part.label: part.__contains__ for part in ranges}
    scored = [_by_answer(*side, metrics) for side in (ours, other)]
    found: dict[str, dict[str, PairedDifference]] = {}
    for metric in metrics:
        mine, theirs = (prompt_means(side, metric.name) for side in scored)
        for label, is_inside in tests.items():
            inside = {prompt: score for prompt, score in mine.items() if is_inside(lengths[prompt])}
            difference = paired_difference(inside, theirs)
            if difference is None:
                continue
            shared = inside.keys() & theirs.keys()
            between = difference.interval
            is_worse = between is not None and (between[1] < 0 if metric.higher_is_better else between[0] > 0)
            found.setdefault(label, {})[metric.name] = PairedDifference(
                n=difference.n_prompts,
                ours=fmean(mine[prompt] for prompt in shared),
                other=fmean(theirs[prompt] for prompt in shared),
                difference=difference.mean,
                interval=between,
                is_worse=is_worse,
            )
    return {label: found[label] for label in tests if label in found}


def _by_answer(
    responses: Sequence[Response], verdicts: Sequence[Verdict], metrics: Sequence[MetricInfo]
) -> list[tuple[str, dict[str, float]]]:
    """Prompt id and scores of each answer."""
    scores = scores_by_answer(verdicts, metrics)
    return [(response.prompt_id, scores.get(response.id, {})) for response in responses]
