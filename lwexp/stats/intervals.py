"""95% intervals of means and paired differences, and tests of many differences at once.

The unit is the prompt, not the answer: repeats of one prompt are not independent, so each prompt counts once, with the
mean of its repeats. Below 30 prompts the interval is the wider of Student's t and a studentised bootstrap; from 30 on,
percentiles of bootstrap means. The seed is fixed, so the same verdicts give the same page. Either of the two by itself
covers the truth less often than 93 times in 100 on some kinds of scores (docs/decisions/039-few-prompts.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from lwexp.stats import student

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RESAMPLES = 4000
SMALL_SAMPLE = 30
"""With fewer prompts than this, intervals are the wider of Student's t and a studentised bootstrap."""
LEVEL = 0.05
_SEED = 0
_LEAST_ERROR = 0.25
"""A resample's standard error counts as at least this share of the sample's. Resamples of nearly equal values have
errors near 0, by which a deviation may not be divided."""

Interval = tuple[float, float]


class Difference(NamedTuple):
    """Mean of a - b over the prompts that both have, with its interval."""

    mean: float
    interval: Interval | None
    n_prompts: int
    p_value: float | None
    """p value of a mean of 0, not corrected for other comparisons; None for a single prompt."""


def interval(values: Sequence[float], within: Interval | None = None) -> Interval | None:
    """95% interval of the mean; None for fewer than two values.

    Args:
        values: One for each prompt.
        within: The scale of the values; the interval is cut at the ends of the scale.
    """
    if len(values) < 2:
        return None
    low, high = _interval_of_few(values) if len(values) < SMALL_SAMPLE else _bootstrap_interval(values)
    return (low, high) if within is None else (max(low, within[0]), min(high, within[1]))


def _interval_of_few(values: Sequence[float]) -> Interval:
    """From the lower of both methods' lower ends to the higher of their upper ends."""
    mean, error = fmean(values), standard_error(values)
    if error == 0:
        return mean, mean
    t = student.reach(1 - LEVEL, len(values) - 1)
    low, high = _studentised(values, mean, error)
    return mean - max(t, high) * error, mean + max(t, -low) * error


def _studentised(values: Sequence[float], mean: float, error: float) -> Interval:
    """The range of (resample's mean - mean) / resample's standard error: what t is for values from a normal curve.

    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), 12.5; the least error is lwexp's own.
    """
    import numpy as np

    drawn = np.asarray([value - mean for value in values])[_drawn(len(values))]
    errors = np.maximum(drawn.std(axis=1, ddof=1) / sqrt(len(values)), _LEAST_ERROR * error)
    low, high = np.percentile(drawn.mean(axis=1) / errors, [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
    return float(low), float(high)


def _bootstrap_interval(values: Sequence[float]) -> Interval:
    import numpy as np

    sample = np.asarray(values, dtype=float)
    places = _drawn(len(sample)) if len(sample) <= 2_000 else _drawn.__wrapped__(len(sample))
    low, high = np.percentile(sample[places].mean(axis=1), [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)])
    return float(low), float(high)


@lru_cache(maxsize=2)  # a report has dozens of intervals over the same number of prompts; 64 MB for 2,000
def _drawn(count: int) -> npt.NDArray[np.int64]:
    """Places of the values of each bootstrap sample."""
    import numpy as np

    return np.random.default_rng(_SEED).integers(0, count, size=(RESAMPLES, count))


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of two values or more."""
    return stdev(values) / sqrt(len(values))


def p_value(differences: Sequence[float]) -> float | None:
    """Two-sided p of the hypothesis that the mean difference is 0, by Student's t; None for fewer than two values.

    If all values are equal, t is infinite, which a few coarse scores reach by chance. Then p is that of the exact test
    of signs: that all of them point the same way.
    """
    if len(differences) < 2:
        return None
    mean, error = fmean(differences), standard_error(differences)
    if error <= 1e-9 * abs(mean):
        return 2.0 ** (1 - len(differences)) if mean else 1.0
    return max(0.0, 1 - student.share_within(abs(mean / error), len(differences) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values. If all below 0.05 count as findings, the chance of any false one is at most 5%.

    This holds even if the tests depend on each other.

    Source: S. Holm, A simple sequentially rejective multiple test procedure (1979).
    """
    adjusted = [0.0] * len(p_values)
    reached = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        reached = max(reached, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = reached
    return adjusted


def paired_difference(a: Mapping[str, float], b: Mapping[str, float]) -> Difference | None:
    """Mean difference a - b over common prompts; None if there are none.

    Args:
        a: Score by prompt id.
        b: Score by prompt id.
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        return None
    differences = [a[prompt] - b[prompt] for prompt in shared]
    return Difference(fmean(differences), interval(differences), len(shared), p_value(differences))
