"""Asks a judge many questions at once. Replies are kept in the ledger, so no verdict is paid for twice."""

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
from lwexp.runs.summaries import AskedAbout
from lwexp.score.unanswered import STARTS, Unanswered

log = logging.getLogger(__name__)

T = TypeVar("T")

# Primes far from any seed in use keep repeat 1 of seed 0, or its second start, apart from repeat 0 of seed 1.
_OF_REPEAT = 1_000_003
_OF_START = 15_485_863


class JudgeRequest(NamedTuple, Generic[T]):
    """One question, and the key that its outcome is kept under."""

    key: str
    question: Question[T]
    repeat: int = 0


def ask_judge(
    requests: Sequence[JudgeRequest[T]],
    judge: AskedJudge,
    *,
    about: AskedAbout,
    seed: int,
    folder: Path,
    root: Path | None = None,
    outcomes: dict[str, T | str] | None = None,
) -> dict[str, T | str]:
    """Ask everything through ``folder / "ledger.sqlite"``.

    Args:
        requests: In any order.
        judge: The judge to ask.
        about: What the questions are about.
        seed: The run's seed, sent with every question.
        folder: An existing folder.
        root: Folder of the runs that share their paid replies; None shares with no run.
        outcomes: Filled as replies arrive, so that the caller has them even when the run is stopped.

    Returns:
        Request key -> what was read, or why nothing was: ``unreadable``, or ``llm.NoAnswer.reason``.

    Raises:
        LwexpError: As in ``lwexp.llm.pool.ask_all``, which also raises KeyboardInterrupt and Preempted; also if many
            replies in a row cannot be used.
    """
    failed = Unanswered(judge, about)
    found = {} if outcomes is None else outcomes
    with open_ledger(folder / LEDGER, judge, root=root) as ledger, counted("judging", len(requests)) as count:

        async def work(client: Client, request: JudgeRequest[T]) -> str | None:
            try:
                read = await _ask(client, request.question, seed + _OF_REPEAT * request.repeat)
            except NothingRead as error:
                if error.reason != DRAINED:
                    found[request.key] = error.reason
                    count.advance()
                    failed.add(request.key, error)
                return error.reason
            found[request.key] = read
            failed.answered()
            count.advance()
            return None

        try:
            ask_all(requests, judge, ledger, work)
        finally:
            failed.write(folder)
    if said := failed.summary():
        log.warning("%s", said)
    return found


async def _ask(client: Client, question: Question[T], seed: int) -> T:
    """Ask. If the ledger has only unreadable replies, all from earlier starts, ask again with another seed.

    Raises:
        NothingRead: If nothing was read; ``is_final`` if no later start asks again.
    """
    for start in range(STARTS):
        try:
            return await ask_and_read(
                client, question.text, question.read, question.reask, seed=seed + _OF_START * start,
                schema=question.schema,
            )  # fmt: skip
        except NothingRead as error:
            error.is_final = error.reason != "unreadable" or start == STARTS - 1
            if error.is_final or not error.is_replay:
                raise
    raise AssertionError("the last start raises")
