"""Intervals, paired differences and corrected tests, with scipy, plain resampling and hand arithmetic as witnesses."""

import numpy as np
import pytest
from scipy import stats

from lwexp.stats.intervals import RESAMPLES, SMALL_SAMPLE, holm, interval, p_value, paired_difference


def test_intervals_agree_with_twenty_times_as_many_resamples() -> None:
    values = np.random.default_rng(1).normal(60, 20, size=40)
    drawn = np.random.default_rng(2).integers(0, 40, size=(20 * RESAMPLES, 40))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    assert interval(values.tolist()) == pytest.approx((low, high), abs=0.25)
    assert interval([3.0]) is None
    assert interval([3.0, 3.0]) == (3.0, 3.0)


def test_interval_agrees_with_scipy():
    values = [float(20 + (n * 37) % 80) for n in range(60)]
    theirs = stats.bootstrap((values,), lambda x, axis: x.mean(axis=axis), method="percentile", n_resamples=4000, rng=5)
    mine = interval(values)
    assert mine is not None
    low, high = mine
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.6)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.6)
    assert interval(values) == (low, high)  # and is the same every time


def test_few_prompts_get_an_interval_of_t() -> None:
    """By hand for 4, 6, 8: mean 6, sd 2, error 2/sqrt(3) = 1.1547; t(2) at 97.5% is 4.3027: 6 +- 4.9683."""
    assert interval([4, 6, 8]) == pytest.approx((1.0317, 10.9683), abs=1e-4)
    values = np.random.default_rng(3).normal(60, 20, size=SMALL_SAMPLE - 1)
    theirs = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    assert interval(values.tolist()) == pytest.approx(theirs)
    more = np.random.default_rng(3).normal(60, 20, size=SMALL_SAMPLE)
    theirs = stats.t.interval(0.95, len(more) - 1, loc=more.mean(), scale=stats.sem(more))
    assert interval(more.tolist()) != pytest.approx(theirs)


def test_an_interval_ends_where_the_scale_ends() -> None:
    """Mean 90, sd 20, error 10: 90 +- 31.8 of t(3), so only the lower end is below 100."""
    assert interval([100, 100, 100, 60], within=(0, 100)) == pytest.approx((58.1755, 100), abs=1e-4)
    assert interval([100, 100, 100, 60]) == pytest.approx((58.1755, 121.8245), abs=1e-4)


def test_interval_of_too_little():
    assert interval([]) is None
    assert interval([50.0]) is None
    assert interval([50.0, 50.0]) == (50, 50)


def test_paired_difference_uses_shared_prompts_only():
    """Shared: a 3-1 = 2, b 5-1 = 4; mean 3, sd sqrt(2), error 1, so t is 3 with one degree of freedom."""
    found = paired_difference({"a": 3, "b": 5, "x": 99}, {"a": 1, "b": 1, "y": 0})
    assert found is not None
    assert (found.mean, found.n_prompts) == (3, 2)
    assert found.p_value == pytest.approx(1 - 2 * np.arctan(3) / np.pi)  # t(1) is Cauchy's distribution
    assert paired_difference({"a": 1}, {"b": 1}) is None


def test_paired_interval_is_narrow_where_models_differ_alike():
    """b is a minus 5 everywhere: the pairing knows the difference exactly, however wide the scores lie."""
    a = {str(n): float(n) for n in range(50)}
    found = paired_difference(a, {k: v - 5 for k, v in a.items()})
    assert found is not None
    assert found.p_value is not None
    assert found.p_value < 1e-12
    assert found.interval == (5, 5)


def test_p_is_that_of_scipys_paired_t_test() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(60, 20, 11), rng.normal(55, 20, 11)
    assert p_value((a - b).tolist()) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert p_value([0.0, 0.0, 0.0]) == 1
    assert p_value([2.0]) is None


def test_equal_differences_on_two_or_three_prompts_prove_nothing():
    """Coarse scores are often all equal. That all n signs agree has a probability of 2 / 2^n under no difference."""
    assert p_value([25.0, 25.0]) == 0.5
    assert p_value([-25.0, -25.0, -25.0]) == 0.25
    assert p_value([70.1 - 60.1, 50.3 - 40.3]) == 0.5  # equal but for rounding
    different, many = p_value([25.0, 25.0001]), p_value([1.0 + n / 1000 for n in range(21)])
    assert different is not None
    assert different < 0.001
    assert many is not None
    assert many >= 0


def test_holm_multiplies_the_smallest_by_the_number_of_tests() -> None:
    """0.01 x 4 = 0.04; 0.02 x 3 = 0.06; 0.03 x 2 = 0.06, which 0.06 covers; 0.5 x 1 = 0.5. Order is kept."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
