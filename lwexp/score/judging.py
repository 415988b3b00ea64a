"""Ask a judge many questions at once. What it said is in the ledger, so nothing is asked twice."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from lwexp.extend.endpoint import AskedJudge
from lwexp.extend.metric import Question
from lwexp.llm.client import Client
from lwexp.llm.ledger import Ledger
from lwexp.llm.pool import DRAINED, NothingRead, ask_all, ask_and_read
from lwexp.runs.artifacts import LEDGER
from lwexp.runs.progress import counted

log = logging.getLogger(__name__)

T = TypeVar("T")


class JudgeRequest(NamedTuple, Generic[T]):
    """One question, and what its outcome is kept under."""

    key: str
    question: Question[T]
    repeat: int = 0


def ask_judge(
    requests: Sequence[JudgeRequest[T]],
    judge: AskedJudge,
    *,
    seed: int,
    folder: Path,
    outcomes: dict[str, T | str] | None = None,
) -> dict[str, T | str]:
    """Ask everything through ``folder / "ledger.sqlite"``.

    Args:
        requests: In any order.
        judge: Who is asked.
        seed: Of the run; sent with every question.
        folder: Existing.
        outcomes: Filled as replies come, so that a caller has those of a run that is stopped.

    Returns:
        Request key -> what was read, or why nothing was: ``unreadable``, or ``llm.NoAnswer.reason``.

    Raises:
        LwexpError: As ``lwexp.llm.pool.ask_all``; KeyboardInterrupt and Preempted too.
    """
    found = {} if outcomes is None else outcomes
    with Ledger(folder / LEDGER, power_safe=not judge.is_free) as ledger, counted("judging", len(requests)) as count:

        async def work(client: Client, request: JudgeRequest[T]) -> str | None:
            outcome = await _ask(client, request, seed)
            if outcome != DRAINED:
                found[request.key] = outcome
                count.advance()
            return outcome if isinstance(outcome, str) else None

        ask_all(requests, judge, ledger, work)
    return found


async def _ask(client: Client, request: JudgeRequest[T], seed: int) -> T | str:
    """Ask once; after an unreadable reply once more; then there is only a reason."""
    question = request.question
    # A prime far from any seed in use keeps repeat 1 of seed 0 apart from repeat 0 of seed 1.
    repeat_seed = seed + 1_000_003 * request.repeat
    try:
        return await ask_and_read(
            client, question.text, question.read, question.reask, seed=repeat_seed, schema=question.schema
        )
    except NothingRead as error:
        log.debug("%s: nothing read: %s: %s", request.key, error.reason, error)
        return error.reason
