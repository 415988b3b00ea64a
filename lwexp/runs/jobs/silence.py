"""SLURM's commands that have stopped answering: said once, asked again for a while, and then given up."""

import logging
import time
from typing import NamedTuple

from lwexp.runs.jobs.slurm_queue import NoAnswer

log = logging.getLogger(__name__)

ASK_SECONDS = 10.0
"""Shortest time between two calls of squeue. Files on the shared file system show sooner that a trial has ended."""
_SAY_AFTER = 3
"""Failures after which a command counts as silent: a busy controller often misses one call."""


class SlurmIsGone(Exception):  # noqa: N818 - named for what it says
    """A command of SLURM has not answered for longer than allowed: str() says which, and why."""


class _Failures(NamedTuple):
    first: float
    last: float
    times: int


class Silence:
    """Which commands fail at the moment, and since when.

    Args:
        minutes: How long a command may fail.
    """

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes
        self.has_answered = False
        """Whether any command has answered this process: if so, this machine has SLURM."""
        self._failing: dict[str, _Failures] = {}

    def answered(self, command: str) -> None:
        """Note that a command has answered."""
        self.has_answered = True
        ended = self._failing.pop(command, None)
        if ended is not None and ended.times >= _SAY_AFTER:
            log.info("%s answers again, after %.0f minutes", command, (time.monotonic() - ended.first) / 60)

    def failed(self, error: NoAnswer) -> None:
        """Note that a command has not answered.

        Raises:
            SlurmIsGone: If it has failed for too long.
        """
        now = time.monotonic()
        before = self._failing.get(error.command, _Failures(now, now, 0))
        failures = self._failing[error.command] = _Failures(before.first, now, before.times + 1)
        if now - failures.first >= 60 * self.minutes:
            raise SlurmIsGone(f"{error.command}: {error.why}")
        if failures.times == _SAY_AFTER:
            log.warning(
                "%s does not answer: %s; it is asked again for hydra.launcher.unanswered_minutes=%d, and running jobs "
                "go on without it", error.command, error.why, self.minutes,
            )  # fmt: skip

    def rests(self, command: str) -> bool:
        """Whether a command has failed so recently that it need not be tried again yet."""
        failures = self._failing.get(command)
        return failures is not None and time.monotonic() - failures.last < ASK_SECONDS

    def is_failing(self, command: str) -> bool:
        return command in self._failing
