"""Ask a judge about many answers at once. What it said is in the ledger, so nothing is asked twice."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence

from lwexp.config.llm import LiteLLMJudge, OfflineJudge
from lwexp.llm import Client, NoAnswer
from lwexp.llm.drain import Drain
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError, Response, Verdict
from lwexp.score.quality import (
    Scores,
    UnreadableError,
    judge_prompt,
    quality_verdict,
    read_scores,
    reask,
    unscored,
)

log = logging.getLogger(__name__)


class Judging:
    """Fills ``verdicts``, by response id, in whatever order the judge replies.

    Args:
        judge: Who is asked.
        seed: Of the run; sent with every question.
    """

    def __init__(self, judge: LiteLLMJudge | OfflineJudge, seed: int) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self._judge = judge
        self._seed = seed

    async def run(self, responses: Sequence[Response], ledger: Ledger) -> None:
        """Judge all responses.

        Raises:
            LwexpError: If the run had to stop: no key, budget reached, a fault that every call meets.
            KeyboardInterrupt: After Ctrl-C, when the calls in flight have ended.
            Preempted: The same after SIGTERM.
        """
        queue = iter(_shown(responses))
        async with Client(self._judge, ledger) as client:
            drain = Drain(client)
            with drain.on_signals():
                workers = range(self._judge.limits.concurrency)
                await asyncio.gather(*(self._work(client, drain, queue) for _ in workers))
        drain.raise_reason()

    async def _work(self, client: Client, drain: Drain, queue: Iterator[Response]) -> None:
        for response in queue:
            if drain.reason is not None:
                return
            try:
                verdict = await judge_one(client, response, scorer=self._judge.model, seed=self._seed)
            except LwexpError as error:
                drain.stop(error)
                return
            if verdict.unscored_reason == "drained":
                return
            self.verdicts[response.id] = verdict
            # A replay from the ledger never waits by itself; this lets signals in.
            await asyncio.sleep(0)


async def judge_one(client: Client, response: Response, *, scorer: str, seed: int) -> Verdict:
    """Ask about one response; after an unreadable reply once more; then it stays unscored.

    Reasons for no score: ``unreadable``, or why the judge gave no reply (``llm.NoAnswer.reason``).
    """
    messages = [{"role": "user", "content": judge_prompt(response)}]
    problem = ""
    for _ in range(2):
        answer = await client.ask(messages, seed=seed, response_schema=Scores)
        if isinstance(answer, NoAnswer):
            log.debug("%s: no verdict: %s: %s", response.id, answer.reason, answer.detail)
            return unscored(response, scorer, answer.reason)
        try:
            return quality_verdict(response, scorer, read_scores(answer.text))
        except UnreadableError as error:
            problem = str(error)
        messages = [
            *messages, {"role": "assistant", "content": answer.text}, {"role": "user", "content": reask(problem)},
        ]  # fmt: skip
    log.debug("%s: no verdict: %s", response.id, problem)
    return unscored(response, scorer, "unreadable")


def _shown(responses: Sequence[Response]) -> Iterator[Response]:
    """Hand responses out, with a progress bar where somebody can see it."""
    if not sys.stderr.isatty():
        yield from responses
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(responses, "verdicts", total=len(responses), console=Console(stderr=True))
