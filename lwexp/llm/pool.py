"""Many questions at once through one client, which ends early in good order; and one asked again if not readable."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from pydantic import BaseModel

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.answer import NoAnswer
from lwexp.llm.client import Client
from lwexp.llm.drain import Drain
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError
from lwexp.text.replies import UnreadableError

I = TypeVar("I")  # noqa: E741 - an item
T = TypeVar("T")

DRAINED = "drained"
"""Reason of a question that was not asked any more."""


def ask_all(
    items: Iterable[I], endpoint: Endpoint, ledger: Ledger, work: Callable[[Client, I], Awaitable[str | None]]
) -> None:
    """Work on every item, ``limits.concurrency`` at a time, in whatever order the replies come.

    Args:
        items: Taken one by one.
        endpoint: Who is asked.
        ledger: Where every paid call is.
        work: Asks, and keeps what comes itself; returns the reason where nothing came.

    Raises:
        LwexpError: If the run had to stop: no key, budget reached, a fault that every call meets.
        KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended; ``Preempted`` after SIGTERM.
    """
    asyncio.run(async_pool(items, endpoint, ledger, work))


async def async_pool(
    items: Iterable[I], endpoint: Endpoint, ledger: Ledger, work: Callable[[Client, I], Awaitable[str | None]]
) -> None:
    """``ask_all`` inside an event loop."""
    queue = iter(items)
    async with Client(endpoint, ledger) as client:
        drain = Drain(client)

        async def worker() -> None:
            for item in queue:
                if drain.reason is not None:
                    return
                try:
                    if await work(client, item) == DRAINED:
                        return
                except LwexpError as error:
                    drain.stop(error)
                    return
                # A replay from the ledger never waits by itself; this lets signals in.
                await asyncio.sleep(0)

        with drain.on_signals():
            await asyncio.gather(*(worker() for _ in range(endpoint.limits.concurrency)))
    drain.raise_reason()


class NothingRead(Exception):  # noqa: N818 - an outcome, not an error
    """No reply could be read.

    Attributes:
        reason: unreadable, else the client's reason (content_filter, ...).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


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
    """Ask once, and once more where the reply is unreadable.

    Args:
        client: Who is asked.
        text: The question.
        read: Reads a reply, or raises ``UnreadableError``.
        reask: The problem -> the message that follows an unreadable reply.
        seed: As in ``Client.ask``, like the next two.
        max_tokens: Longest reply.
        schema: Asks the provider for JSON of this shape.

    Raises:
        NothingRead: If both replies are unreadable, or the call failed for good.
        LwexpError: When the whole run has to stop.
    """
    messages = [{"role": "user", "content": text}]
    problem = ""
    for _ in range(2):
        answer = await client.ask(messages, seed=seed, max_tokens=max_tokens, response_schema=schema)
        if isinstance(answer, NoAnswer):
            raise NothingRead(answer.reason, answer.detail)
        try:
            return read(answer.text)
        except UnreadableError as error:
            problem = str(error)
        messages += [{"role": "assistant", "content": answer.text}, {"role": "user", "content": reask(problem)}]
    raise NothingRead("unreadable", problem)
