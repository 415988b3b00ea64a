"""Runs the trials of a sweep, on this machine or as jobs of SLURM."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lwexp.config.sweep_keys import Slurm, Subprocess
from lwexp.runs.jobs.local_jobs import LocalJobs
from lwexp.runs.jobs.runner import SAME_COMMAND, Runner
from lwexp.runs.jobs.slurm_jobs import SlurmJobs
from lwexp.runs.trials import Trial, recall_finished, recall_jobs


def run_trials(
    entry: Sequence[str],
    trials: Sequence[Trial],
    where: Subprocess,
    folder: Path,
    total: int | None = None,
) -> None:
    """Run every trial that an earlier start has not finished, and keep ``trials.json`` up to date.

    A trial that fails does not stop the others.

    Args:
        entry: Arguments of Python that start a trial, before its overrides: a script, or ``-m lwexp train``.
        trials: The trials to run; updated in place.
        where: The launcher's keys.
        folder: The sweep's directory.
        total: Trials of the whole search, for messages; None if ``trials`` are all.

    Raises:
        KeyboardInterrupt: After the running trials were stopped (SIGTERM first, so that they can save).
        LwexpError: If SLURM does not say whether the jobs of an earlier start are live; nothing is submitted then. Or
            if it stops answering for good; the jobs are not cancelled then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recall_finished(trials, folder)
    jobs = _jobs(where, folder.name)
    if isinstance(jobs, SlurmJobs):
        recall_jobs(trials, folder)
    commands = {trial.number: (*entry, *trial.overrides) for trial in trials}
    go_on = _wait_command(folder) if total is None else SAME_COMMAND
    Runner(trials, commands, where, jobs, folder, total or len(trials), go_on).run()


def run_setup(command: Sequence[str], number: int, folder: Path, where: Subprocess) -> Trial:
    """Run one setup command, such as making data, in one process on the machine of a trial.

    Args:
        command: Arguments of Python.
        number: 1 for the sweep's first setup command.
        folder: The sweep's directory.
        where: The launcher's keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(number - 1, list(command), str(folder / f"setup-{number}.log"), label=" ".join(command))
    alone = replace(where, processes=0, nodes=1)
    jobs = _jobs(alone, f"{folder.name}-setup", getattr(where, "setup_sbatch", {}))
    Runner([trial], {trial.number: tuple(command)}, alone, jobs, None, 1).run()
    return trial


def watch_jobs(trials: Sequence[Trial], folder: Path, where: Slurm) -> None:
    """Wait for the SLURM jobs that an earlier start has submitted; submits nothing."""
    submitted = [trial for trial in trials if trial.job is not None and trial.status == "running"]
    Runner(submitted, {}, where, _jobs(where, folder.name), folder, len(trials), _wait_command(folder)).run()


def _wait_command(folder: Path) -> str:
    return f"lwexp sweep wait {shlex.quote(str(folder))}"


def _jobs(where: Subprocess, prefix: str, options: dict[str, Any] | None = None) -> LocalJobs | SlurmJobs:
    if isinstance(where, Slurm):
        return SlurmJobs(where, prefix, {**where.sbatch, **(options or {})})
    return LocalJobs(where)
