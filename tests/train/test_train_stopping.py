"""Stop signals that come more than once."""

from __future__ import annotations

import os
import signal

import pytest

from lwexp.records import Preempted, stop_handlers_restored
from lwexp.train.loop.stopping import StopRequest


@pytest.mark.parametrize("is_told", [True, False])
def test_a_run_that_stops_ignores_what_srun_sends_once_more(is_told: bool) -> None:
    """This rank or another one was told. One rank has ended with 143, so srun ends the others, which write how the run
    has ended."""
    again: list[int] = []
    stop = StopRequest()

    def save_and_leave() -> None:
        with stop.listening():
            stop.hold()
            if is_told:
                os.kill(os.getpid(), signal.SIGTERM)
            stop.leave()

    with stop_handlers_restored():
        signal.signal(signal.SIGTERM, lambda number, _: again.append(number))
        with pytest.raises(Preempted):
            save_and_leave()
        os.kill(os.getpid(), signal.SIGTERM)
        assert not again


def test_a_run_that_was_not_told_to_stop_leaves_signals_as_they_were() -> None:
    """Negative control: after training, an evaluation in the same process still ends on SIGTERM."""
    told: list[int] = []
    with stop_handlers_restored():
        signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
        with StopRequest().listening():
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert told == [signal.SIGTERM]
