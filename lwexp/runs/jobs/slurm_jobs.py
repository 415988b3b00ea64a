"""The jobs of a sweep on SLURM: submitted, found again by a later start, watched and cancelled."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwexp.config.sweep_keys import Slurm
from lwexp.runs.jobs import slurm_queue as queue
from lwexp.runs.jobs.batch_script import batch_script, signal_of
from lwexp.runs.jobs.job_process import JobFile, clear_endings, job_path, read_endings, signal_before_limit
from lwexp.runs.jobs.silence import ASK_SECONDS, Silence
from lwexp.runs.trial_process import TrialProcess
from lwexp.runs.trials import Outcome, Trial, last_words

_FILE_SECONDS = 15.0
"""How long after a job's end its files may take to appear on the shared file system."""
_FORGOTTEN_SECONDS = 60.0
_STOPPED = (128 + 15, -15, -9)


class SlurmJobs:
    """Jobs of trials, each found by the id in its trial.

    Args:
        where: The launcher's keys.
        prefix: First part of the jobs' names.
        options: Further options for sbatch.
    """

    def __init__(self, where: Slurm, prefix: str, options: dict[str, Any]) -> None:
        self.where = where
        self.prefix = prefix
        self.options = options
        self._states: dict[str, queue.JobState] = {}
        self._asked = float("-inf")
        self._silence = Silence(where.unanswered_minutes)
        self._answered = float("-inf")
        self._ended_since: dict[str, float] = {}

    def submit(self, trial: Trial, command: Sequence[str], after: Sequence[str] = ()) -> None:
        """Submit a trial, unless a job of an earlier attempt is live, and note the job's id.

        Args:
            trial: The trial.
            command: Arguments of Python.
            after: Dependencies, such as ``afterany:17``.

        Raises:
            SubmissionRefused: If sbatch did not take it.
            NoAnswer: If sbatch does not answer; try again later.
            SlurmIsGone: If it has not answered for too long.
        """
        job_file, script = job_path(trial.log).resolve(), Path(trial.log).with_suffix(".sbatch").resolve()
        try:
            job = _job_of_earlier_attempt(script, job_file, command)
            if job is None:
                self._write(trial, command, script, after)
                job = queue.submit(script)
        except queue.SubmissionRefused:
            self._silence.answered("sbatch")
            raise
        except queue.NoAnswer as error:
            if self._silence.has_answered:
                self._silence.failed(error)
            raise
        self._silence.answered("sbatch")
        trial.job, trial.state = job, "PENDING"
        self._ended_since.pop(job, None)

    def _write(self, trial: Trial, command: Sequence[str], script: Path, after: Sequence[str]) -> None:
        """Write the job's files, and remove what earlier jobs of the trial have left."""
        where = self.where
        script.parent.mkdir(parents=True, exist_ok=True)
        Path(trial.record).unlink(missing_ok=True)
        clear_endings(trial.log, where.nodes)
        process = TrialProcess(
            tuple(command), str(Path(trial.log).resolve()), str(Path(trial.record).resolve()),
            processes=where.processes, nodes=where.nodes,
        )  # fmt: skip
        job_file = job_path(trial.log).resolve()
        JobFile(process, where.save_seconds, where.max_timeouts, signal_of(where, self.options)).write(job_file)
        output = Path(trial.log).with_suffix(".slurm.log").resolve()
        name = f"{self.prefix}-{trial.number + 1}"
        script.write_text(batch_script(where, name, job_file, output, self.options, after), encoding="utf-8")

    @property
    def can_submit(self) -> bool:
        """Whether it is worth trying to submit a job now; False while SLURM does not answer."""
        return not self._silence.is_failing("squeue") and not self._silence.rests("sbatch")

    @property
    def has_answered(self) -> bool:
        """Whether SLURM has answered this process before."""
        return self._silence.has_answered

    def refresh(self, trials: Sequence[Trial]) -> None:
        """Ask SLURM for the states of these trials' jobs, at most every few seconds; without an answer, ask later.

        Raises:
            SlurmIsGone: If it has not answered for too long.
        """
        if time.monotonic() - self._asked < ASK_SECONDS:
            return
        try:
            self.ask(trials)
        except queue.NoAnswer as error:
            self._silence.failed(error)

    def ask(self, trials: Sequence[Trial]) -> None:
        """Ask SLURM for the states of these trials' jobs, now.

        Raises:
            NoAnswer: If squeue does not answer.
        """
        self._asked = time.monotonic()
        jobs = [trial.job for trial in trials if trial.job is not None]
        found = queue.job_states(jobs)
        self._silence.answered("squeue")
        self._states, self._answered = found, time.monotonic()
        for trial in trials:
            if trial.job in found:
                trial.state = str(found[trial.job])
        for job in jobs:
            if job in found and found[job].is_live:
                self._ended_since.pop(job, None)
            else:
                self._ended_since.setdefault(job, self._answered)

    def is_live(self, trial: Trial) -> bool:
        """Whether the trial's job waits or runs; asks SLURM at once.

        Raises:
            NoAnswer: If squeue does not answer. A job that may be live must not be submitted a second time.
        """
        self.ask([trial])
        state = self._states.get(trial.job or "")
        return state is not None and state.is_live

    def outcome(self, trial: Trial, at_once: bool = False) -> Outcome | None:
        """How the trial ended; None if it has not.

        Args:
            trial: The trial.
            at_once: Do not wait for the files of a job that SLURM says has failed or no longer knows. A COMPLETED job
                has written its files: they are still awaited.
        """
        assert trial.job is not None
        state = self._states.get(trial.job)
        job = _job_file(trial)
        endings = None if job is None else read_endings(trial.log, job.process.nodes)
        if endings is not None:
            code = next((ending.exit_code for ending in endings if ending.exit_code), 0)
            seconds = max(ending.seconds for ending in endings)
            if code not in _STOPPED:
                return Outcome(code, seconds)
            if state is not None and not state.is_live:
                return Outcome(code, seconds, _in_slurms_words(state, trial))
        since = self._ended_since.get(trial.job)
        wait = _FORGOTTEN_SECONDS if state is None else _FILE_SECONDS
        if at_once and (state is None or state.state != "COMPLETED"):
            wait = 0.0
        # Counted to SLURM's last answer: while it is silent, it may have queued the job again.
        if since is None or self._answered - since < wait:
            return None
        if state is None:
            return Outcome(None, None, f"SLURM no longer knows job {trial.job}")
        return Outcome(None, None, _in_slurms_words(state, trial, has_ended=False))

    def cancel(self, trials: Sequence[Trial]) -> None:
        """Cancel the jobs of these trials.

        Raises:
            LwexpError: If scancel does not answer or refuses.
        """
        queue.cancel([trial.job for trial in trials if trial.job is not None])


def _job_of_earlier_attempt(script: Path, job_file: Path, command: Sequence[str]) -> str | None:
    """The live job that an earlier attempt to submit this command has made, perhaps without learning its id.

    sbatch may have failed, or the sweep may have been killed, after SLURM had got the job.

    Raises:
        NoAnswer: If squeue does not answer.
    """
    if not job_file.is_file() or JobFile.read(job_file).process.command != tuple(command):
        return None
    return queue.live_job(script)


def _job_file(trial: Trial) -> JobFile | None:
    """The trial's job, which this start of the sweep may not have submitted; None if its file was deleted."""
    path = job_path(trial.log)
    return JobFile.read(path) if path.is_file() else None


def _in_slurms_words(state: queue.JobState, trial: Trial, has_ended: bool = True) -> str:
    """Why a job ended, such as ``NODE_FAIL (NodeDown), job 17, after: saved step 12``.

    Args:
        state: What SLURM says.
        trial: The trial.
        has_ended: Whether the trial ended before its job, for example because it has saved.
    """
    said = last_words(Path(trial.log)) or last_words(Path(trial.log).with_suffix(".slurm.log"))
    words = f"{state}, job {trial.job}"
    if state.state == "TIMEOUT" and not has_ended and (job := _job_file(trial)) is not None:
        words += f", {_why_not_saved(job)}"
    return words + (f", after: {said}" if said else "")


def _why_not_saved(job: JobFile) -> str:
    """Why a trial ran into its time limit without saving."""
    if job.signal is None:
        return "not told to save, because its sbatch option signal is null"
    if job.signal == signal_before_limit(job.save_seconds):
        return f"not saved within hydra.launcher.save_seconds={job.save_seconds}"
    return f"not saved after its sbatch option signal={job.signal}"
