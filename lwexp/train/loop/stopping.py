"""Stop signals: outside training the process exits at once; during training it finishes the step, saves, and exits."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from lwexp.records import Preempted, heard_signals, leave_closed_terminal

log = logging.getLogger(__name__)

SAME_PRESS_SECONDS = 1.0
"""Two SIGINTs closer than this are one Ctrl-C, which the terminal and a launcher such as torchrun may both send."""


class StopRequest:
    """Listens for Ctrl-C, SIGTERM and SIGHUP, and for SIGUSR1 and SIGUSR2, which SLURM sends before a job's time is up.

    Lightning's own handling is not used: it broadcasts from within the signal handler, which can collide with the
    collective that each rank is in.
    """

    def __init__(self) -> None:
        self.asked: str | None = None
        """Name of the signal that arrived during training; None if none has arrived."""
        self.done = self.saved = 0
        """Steps trained, and steps trained when the newest checkpoint was saved."""
        self._held = False
        self._is_stopping = False
        self._last_press = -SAME_PRESS_SECONDS

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Inside this context, signals raise ``Preempted`` and Ctrl-C raises ``KeyboardInterrupt``. They do so at once,
        unless ``hold`` was called. The files on disk are complete at any time, and a rerun resumes from them.

        Once the run was told to stop, further stop signals are ignored, also after the context: srun repeats them when
        the first rank has ended, while rank 0 still writes how the run has ended.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._caught) for number in (*heard_signals(), signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, _ignore if self._is_stopping and number != signal.SIGINT else handler)

    def hold(self) -> None:
        """From now on only record signals: training checks ``asked`` after each step. A second Ctrl-C still raises."""
        self._held = True

    def release(self) -> None:
        """Training has ended: a signal that arrived after the last step was saved takes effect now."""
        self._held = False
        if self.asked:
            self.leave()

    def leave(self) -> None:
        """Stop, because this or another rank was asked to. The last step has been saved.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            Preempted: After any other signal.
        """
        if self.asked == signal.SIGINT.name:
            raise KeyboardInterrupt(f"Ctrl-C at step {self.done}; saved")
        self._is_stopping = True
        raise Preempted(f"{self.asked or 'another rank was told to stop'} at step {self.done}; saved")

    def _caught(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        leave_closed_terminal()
        if number == signal.SIGINT:
            before, self._last_press = self._last_press, time.monotonic()
            if self._last_press - before < SAME_PRESS_SECONDS:
                return
            if not self._held or self.asked is not None:
                raise KeyboardInterrupt(f"Ctrl-C {self._what_is_lost()}")
        elif not self._held:
            self._is_stopping = True
            raise Preempted(f"{name} {self._what_is_lost()}")
        again = "; Ctrl-C once more leaves at once, without saving" if number == signal.SIGINT else ""
        log.info("%s: saving after this step%s", "Ctrl-C" if number == signal.SIGINT else name, again)
        self.asked = name

    def _what_is_lost(self) -> str:
        if self.saved == self.done:
            return f"after step {self.done}, which is saved" if self.done else "before the first step"
        saved = f"step {self.saved} is saved" if self.saved else "no step is saved"
        again = f"step {self.done}" if self.done == self.saved + 1 else f"steps {self.saved + 1} to {self.done}"
        return f"after step {self.done}: {saved}, and {again} will be done again"


def _ignore(number: int, _: FrameType | None) -> None:
    """Unlike SIG_IGN, processes that this one starts do not inherit it."""
    log.debug("%s while the run stops", signal.Signals(number).name)
