"""Turns verdicts into scores per answer and per prompt, including means of several metrics."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from lwexp.records import MetricInfo, Verdict


def scores_by_answer(verdicts: Iterable[Verdict], metrics: Sequence[MetricInfo]) -> dict[str, dict[str, float]]:
    """Response id -> metric name -> score; unscored answers are absent. If a verdict is repeated, the later one counts.

    A mean of several metrics exists only if each has a score; a mean over fewer would not be comparable.
    """
    by_kind: dict[str, dict[str, float | None]] = defaultdict(dict)
    for verdict in verdicts:
        by_kind[verdict.response_id][verdict.kind] = verdict.score
    return {id: _named(found, metrics) for id, found in by_kind.items()}


def _named(found: Mapping[str, float | None], metrics: Sequence[MetricInfo]) -> dict[str, float]:
    named = {}
    for metric in metrics:
        kinds = metric.of or (metric.kind,)
        parts = [score for kind in kinds if (score := found.get(kind)) is not None]
        if len(parts) == len(kinds):
            named[metric.name] = fmean(parts)
    return named


def prompt_means(scored: Iterable[tuple[str, Mapping[str, float | None]]], name: str) -> dict[str, float]:
    """Prompt id -> mean of one metric over the prompt's scored repeats; prompts without a score are absent.

    Args:
        scored: Prompt id and scores of each answer.
        name: The metric's name.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for prompt, scores in scored:
        value = scores.get(name)
        if value is not None:
            values[prompt].append(value)
    return {prompt: fmean(given) for prompt, given in values.items()}


def length_volatility(lengths: Iterable[tuple[str, int]]) -> dict[str, float]:
    """Prompt id -> standard deviation of the lengths of its answers, in percent of their mean.

    Prompts with a single answer, or with only empty ones, are absent.

    Args:
        lengths: Prompt id and words of each answer.

    Source:
        VOLTBench (arXiv 2605.01357) measures how the length of repeated answers scatters; this coefficient of
        variation is lwexp's own choice for it.
    """
    by_prompt: dict[str, list[int]] = defaultdict(list)
    for prompt, words in lengths:
        by_prompt[prompt].append(words)
    return {
        prompt: 100 * stdev(words) / fmean(words)
        for prompt, words in by_prompt.items()
        if len(words) > 1 and any(words)
    }
