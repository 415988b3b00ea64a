"""A sweep's folder: its trials and their states."""

from collections import Counter
from pathlib import Path
from typing import Self

from lwexp.records import is_locked
from lwexp.runs.artifacts import LOCK
from lwexp.runs.trials import Trial, read_trials


class Sweep:
    """The trials of a sweep, as its trials.json has them.

    Args:
        path: Its folder.
        trials: At least one.
        is_watched: Whether the process that started the trials still watches them.
    """

    def __init__(self, path: Path, trials: list[Trial], *, is_watched: bool) -> None:
        self.path = path
        self.trials = trials
        self.states = [
            # Without that process, only a SLURM job goes on.
            "stopped" if trial.status == "running" and not is_watched and trial.job is None else trial.status
            for trial in trials
        ]
        self.counts = Counter(self.states)
        self._is_watched = is_watched

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The sweep in a folder; None if its trials cannot be read."""
        trials = read_trials(path)
        return cls(path, trials, is_watched=is_locked(path / LOCK)) if trials else None

    @property
    def state(self) -> str:
        """One of the states of a run."""
        if self._is_watched or self.counts["running"]:
            return "running"
        if self.counts["failed"]:
            return "failed"
        return "finished" if self.counts["finished"] == len(self.trials) else "stopped"

    @property
    def share(self) -> float:
        """How many of the trials have ended, from 0 to 1."""
        return (self.counts["finished"] + self.counts["failed"]) / len(self.trials)

    @property
    def result_text(self) -> str:
        """``5 of 6 trials finished, 1 failed``."""
        others = [f"{count:,} {state}" for state, count in self.counts.items() if state != "finished"]
        return ", ".join([f"{self.counts['finished']:,} of {len(self.trials):,} trials finished", *others])
