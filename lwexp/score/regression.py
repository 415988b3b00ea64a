"""Tests whether a model got worse than another: paired differences of their scores, by required length."""

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

    ``is_worse`` is true if the whole 95% interval of the difference says that ours is worse. Metrics that have no
    prompt scored on both sides are absent.
    """
    lengths = {response.prompt_id: response.required_words for response in ours[0]}
    tests: dict[str, Callable[[int | None], bool]] = {ALL: lambda words: True}
    tests |= {part.label: part.__contains__ for part in ranges}
    scores = [scores_by_answer(verdicts, metrics) for _, verdicts in (ours, other)]
    found: dict[str, dict[str, PairedDifference]] = {}
    for label, is_inside in tests.items():
        for metric in metrics:
            mine, theirs = (
                prompt_means(((r.prompt_id, by_id.get(r.id, {})) for r in responses), metric.name)
                for by_id, (responses, _) in zip(scores, (ours, other), strict=True)
            )
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
    return found
