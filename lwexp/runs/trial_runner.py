"""Runs the trials of a sweep through submitit, on this machine or on SLURM, and watches them until all have ended."""

import json
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from lwexp.config.sweep_keys import Slurm, Subprocess
from lwexp.records import LwexpError
from lwexp.runs.progress import counted
from lwexp.runs.trial_process import TrialProcess, read_pid, share_of_cores, stop
from lwexp.runs.trials import Trial, last_words, recall_finished, write_trials
from lwexp.text.plain import first_line, plural

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_NO_LIMIT_MINUTES = 7 * 24 * 60  # submitit wants a limit for local jobs as well


def run_trials(
    entry: Sequence[str],
    trials: Sequence[Trial],
    where: Subprocess,
    folder: Path,
    others: Sequence[Trial] = (),
    total: int | None = None,
) -> None:
    """Run every trial that an earlier start has not finished, and keep ``trials.json`` up to date.

    A trial that fails does not stop the others.

    Args:
        entry: Arguments of Python that start a trial, before its overrides: a script, or ``-m lwexp train``.
        trials: The trials to run; updated in place.
        where: The launcher's keys.
        folder: The sweep's directory.
        others: Trials of the same sweep that are not run now, for ``trials.json``.
        total: Trials of the whole search, for messages; None if ``trials`` are all.

    Raises:
        KeyboardInterrupt: After the running trials were stopped (SIGTERM first, so that they can save).
    """
    folder.mkdir(parents=True, exist_ok=True)
    recall_finished(trials, folder)
    commands = {trial.number: (*entry, *trial.overrides) for trial in trials}
    _Runner(trials, commands, where, folder, others, total or len(trials)).run()


def run_setup(command: Sequence[str], log_path: Path, where: Subprocess) -> Trial:
    """Run one setup command, such as making data, in one process on the machine of a trial."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    trial = Trial(0, list(command), str(log_path), label=" ".join(command))
    _Runner([trial], {0: tuple(command)}, replace(where, processes=0, nodes=1), None, (), 1).run()
    return trial


class _Runner:
    """Starts trials as others end, until all have ended."""

    def __init__(
        self,
        trials: Sequence[Trial],
        commands: dict[int, tuple[str, ...]],
        where: Subprocess,
        folder: Path | None,
        others: Sequence[Trial],
        total: int,
    ) -> None:
        self.trials = trials
        self.others = others
        self.total = total
        self.commands = commands
        self.where = where
        self.folder = folder
        self.waiting = [trial for trial in trials if trial.status == "waiting"]
        # Trial number -> the trial, submitit's job, time of submission, slot among the parallel trials.
        self.running: dict[int, tuple[Trial, Any, float, int]] = {}

    def run(self) -> None:
        self._note()
        with ExitStack() as stack:
            stack.callback(self._note)
            done = len(self.trials) - len(self.waiting)
            what = "trials" if self.folder is not None else "setup command"
            count = stack.enter_context(counted(what, len(self.trials), done))
            try:
                while self.waiting or self.running:
                    self._start_more()
                    for number in [n for n, (_, job, _, _) in self.running.items() if job.done()]:
                        self._settle(number)
                        count.advance()
                    time.sleep(_POLL_SECONDS)
            except KeyboardInterrupt:
                self._interrupt()
                raise

    def _start_more(self) -> None:
        places = range(self.where.max_parallel_trials or len(self.trials))
        taken = {place for *_, place in self.running.values()}
        for place in [place for place in places if place not in taken][: len(self.waiting)]:
            trial = self.waiting.pop(0)
            Path(trial.record).unlink(missing_ok=True)
            trial.status = "running"
            self.running[trial.number] = (trial, self._submit(trial, place), time.time(), place)
            if self.folder is not None:
                began = "submitted" if self.where.is_slurm else "started"
                log.info("trial %d of %d %s: %s", trial.number + 1, self.total, began, trial.label)
            self._note()

    def _submit(self, trial: Trial, place: int) -> Any:
        where = self.where
        name = "setup" if self.folder is None else f"{self.folder.name}-{trial.number}"
        executor = executor_for(Path(trial.log).parent / "submitit", where, name)
        parallel = where.max_parallel_trials or 1
        if not where.is_slurm and where.gpus:
            executor.update_parameters(visible_gpus=list(range(place * where.gpus, (place + 1) * where.gpus)))
        return executor.submit(
            TrialProcess(
                self.commands[trial.number],
                trial.log,
                trial.record,
                cores=() if where.is_slurm or parallel == 1 else share_of_cores(place, parallel),
                processes=where.processes,
                nodes=where.nodes,
            )
        )

    def _settle(self, number: int) -> None:
        """Read a finished job's exit code; a job that died without one counts as killed."""
        trial, job, start, _ = self.running.pop(number)
        error = job.exception()
        # One result per node; the first failure is the trial's result.
        codes = [] if error is not None else [int(code) for code in job.results()]
        trial.exit_code = -signal.SIGKILL if error is not None else next((code for code in codes if code), 0)
        trial.status = "finished" if trial.exit_code == 0 else "failed"
        trial.seconds = round(time.time() - start, 1)
        record = Path(trial.record)
        trial.runs = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        if trial.status == "failed":
            trial.reason = _reason(trial)
        self._note()
        if self.folder is not None:
            outcome = "finished" if trial.status == "finished" else f"FAILED (exit code {trial.exit_code})"
            log.info("trial %d %s after %.0f s: %s", trial.number + 1, outcome, trial.seconds, trial.label)

    def _interrupt(self) -> None:
        """Stop running trials: locally by a signal to the trial, on SLURM through scancel."""
        log.warning("stopping %s, which may save first", plural(len(self.running), "running trial"))
        for trial, job, _, _ in self.running.values():
            if self.where.is_slurm:
                job.cancel(check=False)
            elif (pid := read_pid(trial.log)) is not None:
                stop(pid)
            trial.status = "interrupted"

    def _note(self) -> None:
        if self.folder is not None:
            write_trials(self.folder, [*self.others, *self.trials])


def _reason(trial: Trial) -> str:
    said = last_words(Path(trial.log))
    assert trial.exit_code is not None
    if trial.exit_code < 0:
        try:
            name = signal.Signals(-trial.exit_code).name
        except ValueError:
            name = "unknown"
        return f"killed by signal {-trial.exit_code} ({name})" + (f", after: {said}" if said else "")
    return said or "no output"


def executor_for(folder: Path, where: Subprocess, name: str) -> Any:
    """submitit's executor with the launcher's keys.

    Args:
        folder: Folder for submitit's files.
        where: The launcher's keys.
        name: The job's name in squeue.

    Raises:
        LwexpError: If this machine has no SLURM, or submitit refuses a key.
    """
    import submitit

    try:
        if not isinstance(where, Slurm):
            executor = submitit.AutoExecutor(folder=folder, cluster=where.cluster)
            executor.update_parameters(timeout_min=_NO_LIMIT_MINUTES, gpus_per_node=where.gpus, nodes=where.nodes)
            return executor
        executor = submitit.AutoExecutor(folder=folder, cluster=where.cluster, slurm_max_num_timeout=where.max_timeouts)
        executor.update_parameters(**_slurm_parameters(where, name))
    except (RuntimeError, ValueError, NameError) as error:
        raise LwexpError(
            f"hydra/launcher={'slurm' if where.is_slurm else 'subprocess'}: {first_line(error)}; run it where sbatch "
            f"and srun exist, or check the keys of hydra.launcher"
        ) from None
    return executor


def _slurm_parameters(where: Slurm, name: str) -> dict[str, Any]:
    """The keys that are set, under submitit's names."""
    container = [("--container-image", where.container), ("--container-mounts", where.container_mounts)]
    srun = [*where.srun_args, *(f"{option}={value}" for option, value in container if value is not None)]
    parameters = {
        "name": name,
        "timeout_min": where.minutes,
        "gpus_per_node": where.gpus,
        "nodes": where.nodes,
        "cpus_per_task": where.cpus,
        "mem_gb": where.memory_gb,
        "slurm_partition": where.partition,
        "slurm_account": where.account,
        "slurm_qos": where.qos,
        "slurm_constraint": where.constraint,
        "slurm_signal_delay_s": where.save_seconds,
        "slurm_srun_args": srun or None,
        "slurm_additional_parameters": where.sbatch or None,
    }
    return {key: value for key, value in parameters.items() if value is not None}
