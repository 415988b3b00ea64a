"""``lwexp sweep status, wait, cancel``: a sweep's jobs on SLURM, handled by a process that did not submit them."""

import logging
from pathlib import Path

from lwexp.config.sweep_keys import Slurm
from lwexp.recipe.sweep import compare_trials, show_trials
from lwexp.records import LwexpError
from lwexp.runs.artifacts import TRIALS
from lwexp.runs.jobs.slurm_jobs import SlurmJobs
from lwexp.runs.logs import console_log
from lwexp.runs.summaries import SweepSummary
from lwexp.runs.trial_runner import watch_jobs
from lwexp.runs.trials import Trial, read_trials, settle_trial, sweep_lock, update_trials
from lwexp.text.plain import plural

log = logging.getLogger(__name__)


def status(folder: Path) -> list[Trial]:
    """Print each trial with its job's state, and note those that have ended; returns the trials.

    Raises:
        LwexpError: If squeue does not answer.
    """
    trials = _trials(folder)
    _note(folder, _settle_ended(trials))
    show_trials(trials)
    return trials


def wait(folder: Path) -> list[Trial]:
    """Wait for the jobs, then compare the trials; returns them.

    Raises:
        LwexpError: If another process, such as the sweep's own, already watches the jobs, or SLURM stops answering.
        KeyboardInterrupt: After Ctrl-C. The jobs keep running unless the user wants them cancelled.
    """
    _trials(folder)
    with sweep_lock(folder):
        trials = read_trials(folder)
        watch_jobs(trials, folder, _where(folder))
    missing = sum(trial.status == "waiting" for trial in trials)
    if missing:
        log.warning("%s not submitted; repeat the sweep's command", plural(missing, "trial"))
    show_trials(trials)
    compare_trials(trials, folder)
    return trials


def cancel(folder: Path) -> list[Trial]:
    """Cancel the jobs that wait or run; those that run save first. Returns the trials.

    Raises:
        LwexpError: If squeue or scancel does not answer, or scancel refuses; the trials stay running then.
    """
    trials = _trials(folder)
    _note(folder, _settle_ended(trials))
    running = [trial for trial in trials if trial.status == "running"]
    SlurmJobs(Slurm(), folder.name, {}).cancel(running)
    for trial in running:
        trial.status = "interrupted"
    _note(folder, running)
    log.info("%s cancelled", plural(len(running), "job"))
    return trials


def _where(folder: Path) -> Slurm:
    """The launcher's keys, as far as a process needs them that submits nothing. Earlier versions noted none."""
    about = SweepSummary.read(folder)
    noted = None if about is None else about.unanswered_minutes
    return Slurm() if noted is None else Slurm(unanswered_minutes=noted)


def _trials(folder: Path) -> list[Trial]:
    """The trials of a sweep on SLURM.

    Raises:
        LwexpError: If the folder has no trials, or they run on this machine.
    """
    console_log()
    trials = read_trials(folder)
    if not trials:
        raise LwexpError(
            f"{folder}: not a sweep's folder (it has no {TRIALS} that can be read); a sweep names its folder when it "
            f"starts"
        )
    if all(trial.job is None for trial in trials):
        raise LwexpError(f"{folder}: none of its trials was submitted to SLURM; stop this sweep where it was started")
    return trials


def _settle_ended(trials: list[Trial]) -> list[Trial]:
    """Ask SLURM once for all jobs, and record the trials that have ended; returns these trials."""
    jobs = SlurmJobs(Slurm(), "", {})
    running = [trial for trial in trials if trial.status == "running"]
    if running:
        jobs.ask(running)
    ended = []
    for trial in running:
        outcome = jobs.outcome(trial, at_once=True)
        if outcome is not None:
            settle_trial(trial, outcome)
            ended.append(trial)
    return ended


def _note(folder: Path, changed: list[Trial]) -> None:
    """Write these trials, except those whose job the sweep's own process has replaced meanwhile."""
    if changed:
        jobs = {trial.number: trial.job for trial in read_trials(folder)}
        update_trials(folder, [trial for trial in changed if trial.job == jobs.get(trial.number)])
