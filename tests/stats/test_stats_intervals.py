"""Intervals, paired differences and corrected tests, with scipy, plain resampling and hand arithmetic as witnesses."""

import itertools

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


def test_few_prompts_get_the_wider_of_two_intervals() -> None:
    """By hand for 4, 6, 8: mean 6, error 2/sqrt(3) = 1.1547, t(2) 4.3027, which would give 6 +- 4.97.

    One resample in 27 is 4, 4, 4. It has no error, so a quarter of 1.1547 counts, and its ratio is -2 / 0.2887 = -6.93,
    which is wider than t: 6 + 6.93 x 1.1547 = 14.
    """
    assert interval([4, 6, 8]) == pytest.approx((-2, 14))


def test_from_30_prompts_on_percentiles_of_means_are_taken() -> None:
    """Where few values decide, the studentised bootstrap, the wider one of 29, reaches far beyond the percentiles."""
    values = [0.0] * 26 + [50.0, 60.0, 80.0, 100.0]
    theirs = stats.bootstrap((values,), lambda x, axis: x.mean(axis=axis), method="percentile", n_resamples=4000, rng=5)
    found = interval(values)
    assert found is not None
    assert found[0] == pytest.approx(theirs.confidence_interval.low, abs=1)
    assert found[1] == pytest.approx(theirs.confidence_interval.high, abs=1)
    fewer = interval(values[1:])
    assert fewer is not None
    assert fewer[1] > found[1] + 5


def studentised(values: list[float], least: float) -> tuple[float, float]:
    """Its interval over all n^n resamples, which are equally likely, without the random ones of the code under test."""
    mean, error = np.mean(values), stats.sem(values)
    resamples = np.array(list(itertools.product(values, repeat=len(values))))
    errors = np.maximum(stats.sem(resamples, axis=1), least * error)
    low, high = np.percentile((resamples.mean(axis=1) - mean) / errors, [2.5, 97.5])
    return mean - high * error, mean - low * error


@pytest.mark.parametrize(
    "values",
    [
        [10.0, 20.0, 30.0, 45.0, 50.0],
        [0.0, 0.0, 0.0, 20.0, 45.0],
        [98.0, 99.0, 100.0, 100.0, 40.0],
        [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
    ],
)
def test_each_end_is_that_of_t_or_of_the_studentised_bootstrap(values: list[float]) -> None:
    found = interval(values)
    assert found is not None
    t = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    bootstrap = studentised(values, least=0.25)
    allowed = 0.12 * (t[1] - t[0])  # 4,000 random resamples differ from all of them
    assert found[0] == pytest.approx(min(t[0], bootstrap[0]), abs=allowed)
    assert found[1] == pytest.approx(max(t[1], bootstrap[1]), abs=allowed)


def test_resamples_of_nearly_equal_values_do_not_widen_an_interval_without_end() -> None:
    """With hardly a least error the same values give an interval a thousand times as wide; t's is 2.6 wide."""
    values = [0.0, 0.0001, 0.0, 0.0002, 0.0, 3.0]
    low, high = studentised(values, least=1e-6)
    assert high - low > 1_000
    found = interval(values)
    assert found is not None
    assert 2 < found[1] - found[0] < 6


def test_symmetric_values_get_hardly_more_than_t_gives_them() -> None:
    values = np.random.default_rng(3).normal(60, 20, size=SMALL_SAMPLE - 1)
    theirs = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    found = interval(values.tolist())
    assert found is not None
    assert found[0] <= theirs[0] + 1e-9
    assert found[1] >= theirs[1] - 1e-9
    assert found[1] - found[0] < 1.1 * (theirs[1] - theirs[0])


def test_an_interval_ends_where_the_scale_ends() -> None:
    """Mean 90, error 10, t(3) 3.18. One resample in three is 100 four times: (100 - 90) / 2.5 = 4, so 90 - 40 = 50."""
    assert interval([100, 100, 100, 60]) == pytest.approx((50, 121.8245), abs=1e-4)
    assert interval([100, 100, 100, 60], within=(0, 100)) == pytest.approx((50, 100), abs=1e-4)


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
