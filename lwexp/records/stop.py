"""Signals that ask a command to stop: from ``kill``, a closed terminal, or a scheduler before a job's time is up."""

import errno
import os
import signal
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from lwexp.records.rows import Preempted

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""SIGTERM, a terminal that closes, and those set by ``sbatch --signal``."""


def heard_signals() -> list[signal.Signals]:
    """The stop signals that this process listens to: not those that ``nohup`` or a parent has set it to ignore."""
    return [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


@contextmanager
def stop_handlers_restored() -> Iterator[None]:
    """After this context, stop signals are handled as before it. Only the main thread can handle signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python


@contextmanager
def stops_raised() -> Iterator[None]:
    """Within this context, a stop signal raises ``Preempted``, so that the run's status and its files are true.

    Without it the process would end at once, and the run would stay "running". Further signals are ignored while the
    first one is dealt with. Pools of calls and trainings listen for themselves, and this context again after them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_stopping = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal is_stopping
        leave_closed_terminal()
        if not is_stopping:
            is_stopping = True
            raise Preempted(signal.Signals(number).name)

    with stop_handlers_restored():
        for number in heard_signals():
            signal.signal(number, stop)
        yield


@contextmanager
def stops_held(drop: bool) -> Iterator[None]:
    """Inside this context stop signals wait for its end. A scheduler may repeat its signal after the run has saved, and
    the manifest should still say how the run has ended.

    Args:
        drop: Forget them instead, because the run ends by such a signal already.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []
    with stop_handlers_restored():
        for number in heard_signals():
            signal.signal(number, lambda number, _: told.append(number))
        yield
    if told and not drop:
        os.kill(os.getpid(), told[0])


def leave_closed_terminal(outputs: Sequence[int] = (1, 2)) -> None:
    """Discard what is printed from now on if the terminal was closed. Every write to it fails, also when a progress bar
    ends or the last line says how the run has ended, and the run would then count as failed.

    Args:
        outputs: File descriptors: standard output and standard error.
    """
    for output in outputs:
        try:
            termios.tcgetattr(output)
        except termios.error as error:
            if error.args[0] == errno.EIO:  # any other file is ENOTTY
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, output)
                os.close(null)
