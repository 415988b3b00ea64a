"""Whether a step and a save fit between SLURM's signal and a job's time limit."""

import logging
import time

from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.trial_process import save_seconds_of_this_job

log = logging.getLogger(__name__)


class SaveTime:
    """Measures steps and saves. Warns once if a job's last save would be cut off by the time limit.

    The signal may arrive at the start of a step, so the time left for it must cover a whole step and its save.
    """

    def __init__(self) -> None:
        self._allowed = save_seconds_of_this_job()
        self._step_began = time.monotonic()

    def begin_step(self) -> None:
        """The next step begins."""
        self._step_began = time.monotonic()

    def saved(self, step: int, save_began: float) -> None:
        """A step that began at the last ``begin_step`` has been saved.

        Args:
            step: Number of the step.
            save_began: ``time.monotonic()`` before the save.
        """
        took, save_took = save_began - self._step_began, time.monotonic() - save_began
        if self._allowed is None or took + save_took <= self._allowed:
            return
        if is_rank_zero():
            log.warning(
                "step %d took %.1f s and its save %.1f s, but the job is told to save only %d s before its time limit; "
                "set hydra.launcher.save_seconds=%d or more and submit it again",
                step, took, save_took, self._allowed, _advised(took, save_took),
            )  # fmt: skip
        self._allowed = None


def _advised(step_seconds: float, save_seconds: float) -> int:
    """Time for a step and a save that takes twice as long, because jobs share the file system."""
    return int(step_seconds + 2 * save_seconds) + 1
