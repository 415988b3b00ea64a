"""Asks many questions at once through one client; can end early, and asks again after an unreadable reply."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.answer import DRAINED, NoAnswer
from lwexp.llm.client import Client
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError, Preempted, heard_signals, leave_closed_terminal
from lwexp.text.plain import first_line
from lwexp.text.replies import UnreadableError

__all__ = ["DRAINED", "NothingRead", "ask_all", "ask_and_read"]

I = TypeVar("I")  # noqa: E741 - an item
T = TypeVar("T")

_GRACE = 5.0  # seconds after a call's time-out, to write the answers that have arrived

log = logging.getLogger(__name__)


def ask_all(
    items: Iterable[I] | AsyncIterable[I],
    endpoint: Endpoint,
    ledger: Ledger,
    work: Callable[[Client, I], Awaitable[str | None]],
) -> None:
    """Work on every item, ``limits.concurrency`` at a time, in whatever order the replies come.

    Args:
        items: Taken one by one, in order.
        endpoint: The endpoint to ask.
        ledger: Where every paid answer is stored.
        work: Asks about one item and keeps the result itself; returns the reason if there was no result.

    Raises:
        LwexpError: If the run had to stop: no key, budget reached, or too many calls in a row failed.
        KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended; ``Preempted`` after SIGTERM.
    """

    async def run() -> None:
        queue = aiter(items if isinstance(items, AsyncIterable) else _one_by_one(items))
        turn = asyncio.Lock()
        async with Client(endpoint, ledger) as client:
            drain = _Drain(client)

            async def worker() -> None:
                while drain.reason is None:
                    try:
                        async with turn:
                            item = await anext(queue)
                        if drain.reason is not None or await work(client, item) == DRAINED:
                            return
                    except StopAsyncIteration:
                        return
                    except LwexpError as error:
                        drain.stop(error)
                    # A replay from the ledger never yields to the event loop by itself; this lets signals in.
                    await asyncio.sleep(0)

            workers = asyncio.gather(*(worker() for _ in range(endpoint.limits.concurrency)))
            with drain.on_signals(workers.cancel, after=endpoint.limits.timeout_seconds + _GRACE):
                try:
                    await workers
                except asyncio.CancelledError:
                    if drain.reason is None:
                        raise
        if drain.reason is not None:
            raise drain.reason

    asyncio.run(run())


async def _one_by_one(items: Iterable[I]) -> AsyncIterator[I]:
    for item in items:
        yield item


class _Drain:
    """Ends a pool early: starts nothing more, lets the calls in flight end, and keeps the reason."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.reason: BaseException | None = None

    def stop(self, reason: BaseException) -> None:
        """Start nothing more; only the first reason is kept."""
        self.reason = self.reason or reason
        self._client.drain()

    @contextlib.contextmanager
    def on_signals(self, cancel: Callable[[], object], *, after: float) -> Iterator[None]:
        """Ctrl-C and the stop signals stop the pool; a second Ctrl-C ends it at once.

        Args:
            cancel: Called if the calls in flight have not ended in time.
            after: Seconds from the signal until ``cancel`` is called.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def caught(number: signal.Signals, reason: BaseException) -> None:
            leave_closed_terminal()
            # Removed before the message is logged, so that Python's own handler gets a second Ctrl-C.
            loop.remove_signal_handler(signal.SIGINT)
            self.stop(reason)
            loop.call_later(after, cancel)
            log.warning("%s: waiting for the calls in flight; press Ctrl-C again to leave at once", number.name)

        loop.add_signal_handler(signal.SIGINT, caught, signal.SIGINT, KeyboardInterrupt())
        before = {number: signal.getsignal(number) for number in heard_signals()}
        for number in before:
            loop.add_signal_handler(number, caught, number, Preempted(number.name))
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            for number, handler in before.items():  # the loop itself would set them to end the process
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python


class NothingRead(Exception):  # noqa: N818 - an outcome, not an error
    """No reply could be read.

    Attributes:
        reason: unreadable, or the client's reason (content_filter, ...).
        reply: The last reply, if there was one.
        is_replay: All replies came from a ledger; nothing was asked.
        is_final: Whether no later start of the run will ask this again. The caller sets it if it counts the starts.
    """

    def __init__(self, reason: str, detail: str, *, reply: str = "", is_replay: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.reply = reply
        self.is_replay = is_replay
        self.is_final = False


async def ask_and_read(
    client: Client,
    text: str,
    read: Callable[[str], T],
    reask: Callable[[str], str],
    *,
    seed: int,
    max_tokens: int | None = None,
    schema: type[BaseModel] | None = None,
) -> T:
    """Ask once, and once more if the reply is unreadable.

    Args:
        client: The client to ask.
        text: The question.
        read: Reads a reply, or raises ``UnreadableError``.
        reask: Turns the problem into the message sent after an unreadable reply.
        seed: As in ``Client.ask``.
        max_tokens: Longest reply.
        schema: Asks the provider for JSON of this shape.

    Raises:
        NothingRead: If both replies are unreadable, or the call failed for good.
        LwexpError: When the whole run has to stop.
    """
    messages = [{"role": "user", "content": text}]
    problem, reply, is_replay = "", "", True
    for _ in range(2):
        answer = await client.ask(messages, seed=seed, max_tokens=max_tokens, response_schema=schema, raw=True)
        if isinstance(answer, NoAnswer):
            partial = answer.partial
            said = "" if partial is None else partial.text or partial.reasoning
            replayed = is_replay and partial is not None and partial.from_ledger
            raise NothingRead(answer.reason, answer.detail, reply=said, is_replay=replayed)
        reply, is_replay = answer.text, is_replay and answer.from_ledger
        try:
            return read(answer.text)
        except UnreadableError as error:
            problem = str(error)
        except Exception as error:  # raised, it would end every later start too, because the ledger replays the reply
            problem = first_line(error)
            log.debug("a reply that could not be read", exc_info=error)
        messages += [{"role": "assistant", "content": answer.text}, {"role": "user", "content": reask(problem)}]
    raise NothingRead("unreadable", problem, reply=reply, is_replay=is_replay)
