"""The study of a search: Optuna's journal in the search's folder, which several processes may work on.

A proposal depends only on the search's seed, the trial's number and the scores so far. So a resumed search proposes
what it would have proposed without the stop, and two processes never draw the same random numbers.
"""

import hashlib
import os
import socket
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lwexp.records import LwexpError, is_locked, lock_file, one_at_a_time

JOURNAL = "study.journal"
_OLD_STUDY = "study.sqlite"
_GIVEN_UP = "given_up"
"""Attribute of the study: numbers of trials whose process has ended without a result. Their settings are tried again
under another number."""
_WORKER = "worker"
"""Attribute of a trial: the process that runs it."""


class Study:
    """A study on disk, as one process sees it.

    Args:
        folder: The search's folder; its name is the study's.
        space: Key -> Optuna distribution.
        direction: maximize or minimize.
        seed: Seed of the sampler.
        still_runs: Whether the trial with this number runs on although the process that asked for it has ended.
    """

    def __init__(
        self, folder: Path, space: Mapping[str, Any], direction: str, seed: int, still_runs: Callable[[int], bool]
    ) -> None:
        optuna = load_optuna()
        self._folder = folder
        self._space = dict(space)
        self._still_runs = still_runs
        self._states = optuna.trial.TrialState
        workers = folder / "workers"
        workers.mkdir(exist_ok=True)
        self._me = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        # A trial whose worker's file is not locked has lost its process. Nodes see each other's locks.
        self._alive = lock_file(workers / self._me, what=folder)
        with self._turn():
            self.optuna = optuna.create_study(
                study_name=folder.name, storage=_storage(optuna, folder), direction=direction,
                sampler=make_sampler(seed), load_if_exists=True,
            )  # fmt: skip

    def ask(self, count: int, n_trials: int) -> list[Any]:
        """At most ``count`` proposals, so that the study gets at most ``n_trials`` trials that end; none if others
        are already running the rest."""
        with self._turn():
            self._give_up_lost_trials()
            running = len(self.optuna.get_trials(states=[self._states.RUNNING]))
            missing = n_trials - self.ended - running
            asked = [self.optuna.ask(dict(self._space)) for _ in range(min(count, missing))]
            for trial in asked:
                trial.set_user_attr(_WORKER, self._me)
        return asked

    def tell(self, asked: Any, score: float | None) -> None:
        """Store the score of a proposal; None if it failed."""
        if score is None:
            self.optuna.tell(asked, state=self._states.FAIL)
        else:
            self.optuna.tell(asked, score)

    @property
    def ended(self) -> int:
        """Number of trials that ended by themselves, scored or failed."""
        given_up = set(self.optuna.user_attrs.get(_GIVEN_UP, []))
        return sum(trial.state.is_finished() and trial.number not in given_up for trial in self.optuna.trials)

    @property
    def best(self) -> Any:
        """The trial with the best score; None if none was scored."""
        try:
            return self.optuna.best_trial
        except ValueError:
            return None

    def close(self) -> None:
        """Leave the study. Trials of this process without a result count as lost from now on."""
        (self._folder / "workers" / self._me).unlink(missing_ok=True)
        self._alive.close()

    def _turn(self) -> Any:
        return one_at_a_time(self._folder / "study.lock")

    def _give_up_lost_trials(self) -> None:
        """Queue the settings of trials whose process has ended, so that they are proposed next."""
        for trial in self.optuna.get_trials(states=[self._states.RUNNING]):
            worker = trial.user_attrs.get(_WORKER)
            if worker is not None and is_locked(self._folder / "workers" / worker):
                continue
            if self._still_runs(trial.number):
                continue
            given_up = self.optuna.user_attrs.get(_GIVEN_UP, [])
            self.optuna.set_user_attr(_GIVEN_UP, [*given_up, trial.number])
            self.optuna.tell(trial.number, state=self._states.FAIL)
            self.optuna.enqueue_trial(trial.params)


def load_optuna() -> Any:
    """Optuna, without its messages about each trial.

    Raises:
        LwexpError: If it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise LwexpError("hydra/sweeper=optuna needs the package optuna: pip install 'lwexp[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def make_sampler(seed: int) -> Any:
    """Optuna's TPE with random numbers of their own for each trial number."""
    load_optuna()
    from optuna.samplers import BaseSampler, TPESampler

    class NumberedSampler(BaseSampler):  # type: ignore[misc]
        def __init__(self) -> None:
            self._number: int | None = None
            self._tpe: Any = None

        def _of(self, trial: Any) -> Any:
            """The sampler of this trial: one for all its settings, which would be correlated otherwise."""
            if trial.number != self._number:
                drawn = hashlib.sha256(f"{seed} {trial.number}".encode()).digest()
                self._number = trial.number
                self._tpe = TPESampler(seed=int.from_bytes(drawn[:4], "big"))
            return self._tpe

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            return self._of(trial).infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
            return self._of(trial).sample_relative(study, trial, search_space)

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    return NumberedSampler()


def _storage(optuna: Any, folder: Path) -> Any:
    """The journal. A study that an earlier version kept in SQLite, which nodes cannot share, is copied into it once."""
    path, old = folder / JOURNAL, folder / _OLD_STUDY
    if old.exists() and not path.exists():
        copied = folder / f"{JOURNAL}.tmp"
        copied.unlink(missing_ok=True)
        storage = optuna.storages.RDBStorage(f"sqlite:///{old}")
        try:
            optuna.copy_study(from_study_name=folder.name, from_storage=storage, to_storage=_journal(optuna, copied))
        finally:  # else the file stays open
            storage.remove_session()
            storage.engine.dispose()
        copied.rename(path)
    return _journal(optuna, path)


def _journal(optuna: Any, path: Path) -> Any:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
