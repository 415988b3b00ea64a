"""Rank correlation, with scipy as witness."""

import pytest

from lwexp.stats.agreement import rank_correlation


def test_rank_correlation_agrees_with_scipy():
    from scipy.stats import spearmanr

    a, b = [50, 100, 100, 400, 800], [64, 120, 118, 457, 430]
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation([1, 2, 3], [30, 20, 10]) == -1
    assert rank_correlation([1, 2, 3], [5, 5, 5]) is None
