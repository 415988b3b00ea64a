"""Ask a judge many questions at once. What it said is in the ledger, so nothing is asked twice."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from lwexp.extend.endpoint import AskedJudge
from lwexp.extend.metric import Question
from lwexp.llm import Client, NoAnswer
from lwexp.llm.drain import Drain
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError
from lwexp.text.replies import UnreadableError

log = logging.getLogger(__name__)

T = TypeVar("T")


class JudgeRequest(NamedTuple, Generic[T]):
    """One question, and what its outcome is kept under."""

    key: str
    question: Question[T]
    repeat: int = 0


class Judging(Generic[T]):
    """Fills ``outcomes``, by request key, in whatever order the judge replies.

    Args:
        judge: Who is asked.
        seed: Of the run; sent with every question.
    """

    def __init__(self, judge: AskedJudge, seed: int) -> None:
        self.outcomes: dict[str, T | str] = {}
        """What was read, or why nothing was."""
        self._judge = judge
        self._seed = seed

    def run(self, requests: Sequence[JudgeRequest[T]], folder: Path) -> dict[str, T | str]:
        """Ask everything through ``folder / "ledger.sqlite"``, and return the outcomes.

        Raises:
            LwexpError: If the run had to stop: no key, budget reached, a fault that every call meets.
            KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended.
            Preempted: The same after SIGTERM.
        """
        # An offline verdict costs nothing to lose in a power cut; waiting for the disk would cost 3 ms each.
        with Ledger(folder / "ledger.sqlite", power_safe=not self._judge.is_free) as ledger:
            asyncio.run(self._run(requests, ledger))
        return self.outcomes

    async def _run(self, requests: Sequence[JudgeRequest[T]], ledger: Ledger) -> None:
        queue = iter(_shown(requests))
        async with Client(self._judge, ledger) as client:
            drain = Drain(client)
            with drain.on_signals():
                workers = range(self._judge.limits.concurrency)
                await asyncio.gather(*(self._work(client, drain, queue) for _ in workers))
        drain.raise_reason()

    async def _work(self, client: Client, drain: Drain, queue: Iterator[JudgeRequest[T]]) -> None:
        for request in queue:
            if drain.reason is not None:
                return
            try:
                outcome = await ask(client, request, seed=self._seed)
            except LwexpError as error:
                drain.stop(error)
                return
            if outcome == "drained":
                return
            self.outcomes[request.key] = outcome
            # A replay from the ledger never waits by itself; this lets signals in.
            await asyncio.sleep(0)


async def ask(client: Client, request: JudgeRequest[T], *, seed: int) -> T | str:
    """Ask once; after an unreadable reply once more; then there is only a reason.

    Reasons: ``unreadable``, or why the judge gave no reply (``llm.NoAnswer.reason``).
    """
    question = request.question
    messages = [{"role": "user", "content": question.text}]
    # A prime far from any seed in use keeps repeat 1 of seed 0 apart from repeat 0 of seed 1.
    repeat_seed = seed + 1_000_003 * request.repeat
    problem = ""
    for _ in range(2):
        answer = await client.ask(messages, seed=repeat_seed, response_schema=question.schema)
        if isinstance(answer, NoAnswer):
            log.debug("%s: nothing read: %s: %s", request.key, answer.reason, answer.detail)
            return answer.reason
        try:
            return question.read(answer.text)
        except UnreadableError as error:
            problem = str(error)
        messages = [
            *messages, {"role": "assistant", "content": answer.text},
            {"role": "user", "content": question.reask(problem)},
        ]  # fmt: skip
    log.debug("%s: nothing read: %s", request.key, problem)
    return "unreadable"


def _shown(requests: Sequence[JudgeRequest[T]]) -> Iterator[JudgeRequest[T]]:
    """Hand requests out, with a progress bar where somebody can see it."""
    if not sys.stderr.isatty():
        yield from requests
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(requests, "judging", total=len(requests), console=Console(stderr=True))
