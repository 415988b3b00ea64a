"""A real evaluation killed with SIGKILL ends with the table of an undisturbed one; thirty kills are a benchmark."""

import pytest

from benchmarks.kills_evaluate import measure
from tests import forked


@pytest.mark.slow
def test_two_kills_change_nothing_and_pay_for_no_more_than_was_in_flight() -> None:
    found = measure(2, 24, start=lambda words, _: forked.Process(words))
    assert found["kills"] == 2
    assert found["calls_undisturbed"] == 48
    assert found["table_is_equal"] == 1
    assert found["paid_twice"] <= found["in_flight_at_most"] == 16
