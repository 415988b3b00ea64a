"""Trials as processes of this machine, started by submitit."""

import signal
import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwexp.config.sweep_keys import Subprocess
from lwexp.records import LwexpError
from lwexp.runs.trial_process import TrialProcess, is_running, pid_file, read_pid, share_of_cores, stop
from lwexp.runs.trials import Outcome, Trial, reason_in
from lwexp.text.plain import first_line

_NO_LIMIT_MINUTES = 7 * 24 * 60  # submitit wants a limit for local jobs as well
_START_SECONDS = 30.0
"""The longest that submitit may take from a job's submission to the trial's process."""


class LocalJobs:
    """Trials as processes of this machine, started by submitit."""

    def __init__(self, where: Subprocess) -> None:
        self.where = where
        # submitit names a job's files by its process id. In containers two hosts easily have the same one, and in a
        # shared folder one would run the other's job.
        self._folder = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._jobs: dict[int, Any] = {}

    def submit(self, trial: Trial, command: Sequence[str], place: int) -> None:
        """Start a trial.

        Args:
            trial: The trial.
            command: Arguments of Python.
            place: Its place among the parallel trials, which decides its CPUs and GPUs.
        """
        where = self.where
        Path(trial.record).unlink(missing_ok=True)
        if not is_running(trial.log):  # a killed sweep leaves the process id of a trial that has ended
            pid_file(trial.log).unlink(missing_ok=True)
        executor = executor_for(Path(trial.log).parent / "submitit" / self._folder, where)
        parallel = where.max_parallel_trials or 1
        if where.gpus:
            executor.update_parameters(visible_gpus=list(range(place * where.gpus, (place + 1) * where.gpus)))
        cores = () if parallel == 1 else share_of_cores(place, parallel)
        self._jobs[trial.number] = executor.submit(
            TrialProcess(tuple(command), trial.log, trial.record, cores, where.processes, where.nodes)
        )

    def outcome(self, trial: Trial) -> Outcome | None:
        """How the trial ended; None if it has not. A job that died without a result counts as killed."""
        from submitit.core.utils import FailedJobError

        job = self._jobs[trial.number]
        if not job.done():
            return None
        error = job.exception()
        if isinstance(error, FailedJobError):  # the trial could not be started; the error holds the traceback
            return Outcome(1, None, reason_in(str(error)))
        if error is not None:
            return Outcome(-signal.SIGKILL)
        # One result per node; the first failure is the trial's result.
        return Outcome(next((code for code in map(int, job.results()) if code), 0))

    def cancel(self, trials: Sequence[Trial]) -> None:
        """Stop these trials; they may save first. One that is still starting is waited for, or it would run alone."""
        deadline = time.monotonic() + _START_SECONDS
        while any(map(self._is_starting, trials)) and time.monotonic() < deadline:
            time.sleep(0.05)
        found = (read_pid(trial.log) for trial in trials)
        stop(*(pid for pid in found if pid is not None))

    def _is_starting(self, trial: Trial) -> bool:
        return read_pid(trial.log) is None and not self._jobs[trial.number].done()


def executor_for(folder: Path, where: Subprocess) -> Any:
    """submitit's executor for this machine.

    Args:
        folder: Folder for submitit's files.
        where: The launcher's keys.

    Raises:
        LwexpError: If submitit refuses a key.
    """
    import submitit

    try:
        executor = submitit.AutoExecutor(folder=folder, cluster="local")
        executor.update_parameters(timeout_min=_NO_LIMIT_MINUTES, gpus_per_node=where.gpus, nodes=where.nodes)
    except (RuntimeError, ValueError, NameError) as error:
        raise LwexpError(f"hydra/launcher=subprocess: {first_line(error)}; check the keys of hydra.launcher") from None
    return executor
