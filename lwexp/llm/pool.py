"""Many questions at once through one client, which ends early in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.client import Client
from lwexp.llm.drain import Drain
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError

I = TypeVar("I")  # noqa: E741 - an item

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
    asyncio.run(_run(items, endpoint, ledger, work))


async def _run(
    items: Iterable[I], endpoint: Endpoint, ledger: Ledger, work: Callable[[Client, I], Awaitable[str | None]]
) -> None:
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
