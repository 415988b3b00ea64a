"""Intervals, paired differences and rank correlation, with scipy and plain resampling as witnesses."""

import numpy as np
import pytest

from lwexp.stats.intervals import RESAMPLES, interval, paired_difference, rank_correlation


def test_intervals_agree_with_twenty_times_as_many_resamples() -> None:
    values = np.random.default_rng(1).normal(60, 20, size=40)
    drawn = np.random.default_rng(2).integers(0, 40, size=(20 * RESAMPLES, 40))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    assert interval(values.tolist()) == pytest.approx((low, high), abs=0.25)
    assert interval([3.0]) is None
    assert interval([3.0, 3.0]) == (3.0, 3.0)


def test_interval_agrees_with_scipy():
    from scipy.stats import bootstrap

    values = [float(20 + (n * 37) % 80) for n in range(60)]
    theirs = bootstrap((values,), lambda x, axis: x.mean(axis=axis), method="percentile", n_resamples=4000, rng=5)
    mine = interval(values)
    assert mine is not None
    low, high = mine
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.6)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.6)
    assert interval(values) == (low, high)  # and is the same every time


def test_interval_of_too_little():
    assert interval([]) is None
    assert interval([50.0]) is None
    assert interval([50.0, 50.0]) == (50, 50)


def test_paired_difference_uses_shared_prompts_only():
    """Shared: a 3-1 = 2, b 5-1 = 4; mean 3."""
    found = paired_difference({"a": 3, "b": 5, "x": 99}, {"a": 1, "b": 1, "y": 0})
    assert found is not None
    assert (found.mean, found.n_prompts) == (3, 2)
    assert paired_difference({"a": 1}, {"b": 1}) is None


def test_paired_interval_is_narrow_where_models_differ_alike():
    """b is a minus 5 everywhere: the pairing knows the difference exactly, however wide the scores lie."""
    a = {str(n): float(n) for n in range(50)}
    found = paired_difference(a, {k: v - 5 for k, v in a.items()})
    assert found is not None
    assert found.interval == (5, 5)


def test_rank_correlation_agrees_with_scipy():
    from scipy.stats import spearmanr

    a, b = [50, 100, 100, 400, 800], [64, 120, 118, 457, 430]
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation([1, 2, 3], [30, 20, 10]) == -1
    assert rank_correlation([1, 2, 3], [5, 5, 5]) == 0
