"""Ask a judge many questions at once. What it said is in the ledger, so nothing is asked twice."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from lwexp.config.llm import LiteLLMJudge, OfflineJudge
from lwexp.llm import Client, NoAnswer
from lwexp.llm.drain import Drain
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError
from lwexp.score.quality import UnreadableError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Question(NamedTuple, Generic[T]):
    """One thing to ask a judge."""

    key: str  # what the outcome is kept under
    text: str
    read: Callable[[str], T]  # raises UnreadableError
    reask: Callable[[str], str]  # the problem -> the message that follows an unreadable reply
    schema: type[BaseModel] | None
    repeat: int = 0


class Judging(Generic[T]):
    """Fills ``outcomes``, by question key, in whatever order the judge replies.

    Args:
        judge: Who is asked.
        seed: Of the run; sent with every question.
    """

    def __init__(self, judge: LiteLLMJudge | OfflineJudge, seed: int) -> None:
        self.outcomes: dict[str, T | str] = {}
        """What was read, or why nothing was."""
        self._judge = judge
        self._seed = seed

    async def run(self, questions: Sequence[Question[T]], ledger: Ledger) -> None:
        """Ask all questions.

        Raises:
            LwexpError: If the run had to stop: no key, budget reached, a fault that every call meets.
            KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended.
            Preempted: The same after SIGTERM.
        """
        queue = iter(_shown(questions))
        async with Client(self._judge, ledger) as client:
            drain = Drain(client)
            with drain.on_signals():
                workers = range(self._judge.limits.concurrency)
                await asyncio.gather(*(self._work(client, drain, queue) for _ in workers))
        drain.raise_reason()

    async def _work(self, client: Client, drain: Drain, queue: Iterator[Question[T]]) -> None:
        for question in queue:
            if drain.reason is not None:
                return
            try:
                outcome = await ask(client, question, seed=self._seed)
            except LwexpError as error:
                drain.stop(error)
                return
            if outcome == "drained":
                return
            self.outcomes[question.key] = outcome
            # A replay from the ledger never waits by itself; this lets signals in.
            await asyncio.sleep(0)


async def ask(client: Client, question: Question[T], *, seed: int) -> T | str:
    """Ask once; after an unreadable reply once more; then there is only a reason.

    Reasons: ``unreadable``, or why the judge gave no reply (``llm.NoAnswer.reason``).
    """
    messages = [{"role": "user", "content": question.text}]
    # A prime far from any seed in use keeps repeat 1 of seed 0 apart from repeat 0 of seed 1.
    repeat_seed = seed + 1_000_003 * question.repeat
    problem = ""
    for _ in range(2):
        answer = await client.ask(messages, seed=repeat_seed, response_schema=question.schema)
        if isinstance(answer, NoAnswer):
            log.debug("%s: nothing read: %s: %s", question.key, answer.reason, answer.detail)
            return answer.reason
        try:
            return question.read(answer.text)
        except UnreadableError as error:
            problem = str(error)
        messages = [
            *messages, {"role": "assistant", "content": answer.text},
            {"role": "user", "content": question.reask(problem)},
        ]  # fmt: skip
    log.debug("%s: nothing read: %s", question.key, problem)
    return "unreadable"


def _shown(questions: Sequence[Question[T]]) -> Iterator[Question[T]]:
    """Hand questions out, with a progress bar where somebody can see it."""
    if not sys.stderr.isatty():
        yield from questions
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(questions, "judging", total=len(questions), console=Console(stderr=True))
