"""How a step with calls in flight ends early: it starts nothing more, lets the calls end, and says why afterwards."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

from lwexp.llm.client import Client
from lwexp.records import Preempted

log = logging.getLogger(__name__)


class Drain:
    """Stops the workers of one client. Use as a context around them; afterwards ``raise_reason``."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.reason: BaseException | None = None
        """Why nothing more is started; None while all is well."""

    def stop(self, reason: BaseException) -> None:
        """Start nothing more; the first reason counts."""
        self.reason = self.reason or reason
        self._client.drain()

    def raise_reason(self) -> None:
        """Raise why the step ended early, if it did: an error, Ctrl-C or SIGTERM."""
        if self.reason is not None:
            raise self.reason

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the step after the calls in flight; a second Ctrl-C ends it at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def caught(number: signal.Signals, reason: BaseException) -> None:
            # Said last: who presses again on reading it must meet Python's own handler, not this one once more.
            loop.remove_signal_handler(signal.SIGINT)
            self.stop(reason)
            log.warning("%s: waiting for the calls in flight; press Ctrl-C again to leave at once", number.name)

        loop.add_signal_handler(signal.SIGINT, caught, signal.SIGINT, KeyboardInterrupt())
        loop.add_signal_handler(signal.SIGTERM, caught, signal.SIGTERM, Preempted("SIGTERM"))
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            loop.remove_signal_handler(signal.SIGTERM)
