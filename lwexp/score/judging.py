"""Asks a judge many questions at once. Replies are kept in the ledger, so nothing is asked twice."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from lwexp.extend.endpoint import AskedJudge
from lwexp.extend.metric import Question
from lwexp.llm.client import Client
from lwexp.llm.ledger import open_ledger
from lwexp.llm.pool import DRAINED, NothingRead, ask_all, ask_and_read
from lwexp.runs.artifacts import LEDGER
from lwexp.runs.progress import counted

log = logging.getLogger(__name__)

T = TypeVar("T")


class JudgeRequest(NamedTuple, Generic[T]):
    """One question, and the key that its outcome is kept under."""

    key: str
    question: Question[T]
    repeat: int = 0


def ask_judge(
    requests: Sequence[JudgeRequest[T]],
    judge: AskedJudge,
    *,
    seed: int,
    folder: Path,
    root: Path | None = None,
    outcomes: dict[str, T | str] | None = None,
) -> dict[str, T | str]:
    """Ask everything through ``folder / "ledger.sqlite"``.

    Args:
        requests: In any order.
        judge: The judge to ask.
        seed: The run's seed, sent with every question.
        folder: An existing folder.
        root: Folder of the runs that share their paid replies; None shares with no run.
        outcomes: Filled as replies arrive, so that the caller has them even when the run is stopped.

    Returns:
        Request key -> what was read, or why nothing was: ``unreadable``, or ``llm.NoAnswer.reason``.

    Raises:
        LwexpError: As in ``lwexp.llm.pool.ask_all``, which also raises KeyboardInterrupt and Preempted.
    """
    found = {} if outcomes is None else outcomes
    with open_ledger(folder / LEDGER, judge, root=root) as ledger, counted("judging", len(requests)) as count:

        async def work(client: Client, request: JudgeRequest[T]) -> str | None:
            question = request.question
            # A prime far from any seed in use keeps repeat 1 of seed 0 apart from repeat 0 of seed 1.
            of_repeat = seed + 1_000_003 * request.repeat
            try:
                found[request.key] = await ask_and_read(
                    client, question.text, question.read, question.reask, seed=of_repeat, schema=question.schema
                )
            except NothingRead as error:
                if error.reason != DRAINED:
                    log.debug("%s: nothing read: %s: %s", request.key, error.reason, error)
                    found[request.key] = error.reason
                    count.advance()
                return error.reason
            count.advance()
            return None

        ask_all(requests, judge, ledger, work)
    return found
