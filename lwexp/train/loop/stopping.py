"""Stop signals: exit immediately outside training; during training finish the step, save, then exit."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from lwexp.records import Preempted
from lwexp.runs.launch import STOP_SIGNALS

log = logging.getLogger(__name__)


class StopRequest:
    """Listens for SIGTERM, and for SIGUSR1 and SIGUSR2, which SLURM and submitit send before a job's time is up.

    Lightning's own handling is not used: its handler broadcasts from within a signal handler, which meets
    whatever collective each rank is in.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        """Name of the signal that arrived during training; None while there was none."""
        self._held = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Signals raise ``Preempted`` at once: what is on disk is complete, and a re-run resumes from it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._caught) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hold(self) -> None:
        """From now on only record a signal: training checks ``asked`` after each step."""
        self._held = True

    def release(self) -> None:
        """End of training: a signal that arrived during the last step takes effect now."""
        self._held = False
        if self.asked:
            raise Preempted(f"{self.asked} after the last step; saved")

    def _caught(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if not self._held:
            raise Preempted(f"{name} while nothing was being trained")
        log.info("%s: saving after this step", name)
        self.asked = name
