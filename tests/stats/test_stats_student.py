"""Student's t, with scipy as witness."""

import pytest
from scipy import stats

from lwexp.stats.student import reach, share_within


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 10, 29, 119, 500])
def test_shares_and_quantiles_are_those_of_scipy(freedom: int) -> None:
    for t in (0.0, 0.3, 1.0, 2.5, 8.0):
        assert share_within(t, freedom) == pytest.approx(1 - 2 * stats.t.sf(t, freedom), abs=1e-12)
    for share in (0.5, 0.95, 0.99):
        assert reach(share, freedom) == pytest.approx(stats.t.ppf((1 + share) / 2, freedom), rel=1e-9)


def test_quantiles_of_printed_tables() -> None:
    """As in any textbook: 12.706, 4.303, 2.228 for 1, 2 and 10 degrees of freedom at 95%."""
    assert [round(reach(0.95, freedom), 3) for freedom in (1, 2, 10)] == [12.706, 4.303, 2.228]
