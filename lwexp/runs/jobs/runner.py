"""Starts the trials of a sweep, watches them until all have ended, and stops them."""

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from lwexp.config.sweep_keys import Subprocess
from lwexp.records import LwexpError, Preempted
from lwexp.runs.jobs.local_jobs import LocalJobs
from lwexp.runs.jobs.silence import SlurmIsGone
from lwexp.runs.jobs.slurm_jobs import SlurmJobs
from lwexp.runs.jobs.slurm_queue import NoAnswer, SubmissionRefused
from lwexp.runs.progress import counted
from lwexp.runs.trials import Outcome, Trial, settle_trial, update_trials
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

SAME_COMMAND = "the same command"
_POLL_SECONDS = 0.2


class Runner:
    """Starts trials as others end, until all have ended.

    Args:
        trials: The trials; updated in place.
        commands: Number of a trial -> arguments of Python that start it.
        where: The launcher's keys.
        jobs: Starts and stops the trials.
        folder: The sweep's directory; None for a setup command, which has none of its own.
        total: Trials of the whole sweep or search, for messages.
        go_on: The command that goes on with submitted jobs, for messages.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        commands: dict[int, tuple[str, ...]],
        where: Subprocess,
        jobs: LocalJobs | SlurmJobs,
        folder: Path | None,
        total: int,
        go_on: str = SAME_COMMAND,
    ) -> None:
        self.go_on = go_on
        self.trials = trials
        self.total = total
        self.commands = commands
        self.where = where
        self.jobs = jobs
        self.folder = folder
        self.waiting: list[Trial] = []
        self._full_at: int | None = None
        """Number of running trials at which sbatch refused one more."""
        self.running: dict[int, tuple[Trial, float, int]] = {}
        """Trial number -> the trial, when it was started, its place among the parallel trials."""
        for trial in trials:
            if trial.status == "running" or (trial.status == "waiting" and self._is_submitted(trial)):
                self._attach(trial)
            elif trial.status == "waiting":
                self.waiting.append(trial)

    def run(self) -> None:
        """Run until all trials have ended; if they are detached, until all are submitted.

        Raises:
            KeyboardInterrupt: After the running trials were stopped.
            LwexpError: If SLURM does not answer.
        """
        self._note()
        with ExitStack() as stack:
            stack.callback(self._note)
            what = "trials" if self.folder is not None else "setup command"
            count = stack.enter_context(counted(what, len(self.trials), self._ended))
            try:
                while self.waiting or self.running:
                    self._start_more()
                    if self._is_detached:
                        return
                    self._settle_ended()
                    count.done = self._ended
                    time.sleep(_POLL_SECONDS)
            except SlurmIsGone as error:
                go_on = SAME_COMMAND if self.waiting else self.go_on
                raise LwexpError(
                    f"SLURM has not answered within hydra.launcher.unanswered_minutes ({error}); no job was cancelled, "
                    f"run {go_on} to go on"
                ) from None
            except KeyboardInterrupt:
                self._interrupt()
                raise
            except Preempted:
                if not isinstance(self.jobs, SlurmJobs):  # jobs keep running, and the next start watches them
                    self._interrupt()
                raise

    @property
    def _ended(self) -> int:
        """How many trials have ended, those that sbatch has refused for good included."""
        return len(self.trials) - len(self.waiting) - len(self.running)

    @property
    def _is_detached(self) -> bool:
        """Whether the trials are submitted and left alone. Setup commands are always waited for."""
        return getattr(self.where, "detach", False) and self.folder is not None

    def _is_submitted(self, trial: Trial) -> bool:
        """Whether an earlier start has submitted the trial, and its job is live or has finished.

        Raises:
            NoAnswer: If squeue does not answer.
        """
        if not isinstance(self.jobs, SlurmJobs) or trial.job is None:
            return False
        if self.jobs.is_live(trial):
            return True
        outcome = self.jobs.outcome(trial)
        return outcome is not None and outcome.exit_code == 0

    def _attach(self, trial: Trial) -> None:
        trial.status = "running"
        self.running[trial.number] = (trial, time.time(), len(self.running))
        log.info("trial %d was submitted by an earlier start, job %s: %s", trial.number + 1, trial.job, trial.label)

    def _start_more(self) -> None:
        if isinstance(self.jobs, SlurmJobs) and self._is_detached:
            self._submit_all(self.jobs)
            return
        if self._full_at is not None and len(self.running) >= self._full_at:
            return
        if isinstance(self.jobs, SlurmJobs) and not self.jobs.can_submit:
            return
        self._full_at = None
        places = range(self.where.max_parallel_trials or len(self.trials))
        taken = {place for *_, place in self.running.values()}
        for place in [place for place in places if place not in taken][: len(self.waiting)]:
            trial = self.waiting.pop(0)
            if not self._start(trial, place):
                return

    def _submit_all(self, jobs: SlurmJobs) -> None:
        """Submit every trial now. At most ``max_parallel_trials`` run at a time: each waits for an earlier one."""
        chain = [trial.job for trial, *_ in self.running.values()]
        while self.waiting:
            trial = self.waiting.pop(0)
            limit = self.where.max_parallel_trials
            before = chain[-limit] if limit is not None and len(chain) >= limit else None
            if self._start(trial, len(chain), after=() if before is None else (f"afterany:{before}",)):
                chain.append(trial.job)

    def _start(self, trial: Trial, place: int, after: Sequence[str] = ()) -> bool:
        """Start a trial. False if sbatch refused it: it is tried again when another has ended, if any runs.

        Raises:
            NoAnswer: If sbatch does not answer and nothing says that it will.
            SlurmIsGone: If it has not answered for too long.
        """
        try:
            if isinstance(self.jobs, SlurmJobs):
                self.jobs.submit(trial, self.commands[trial.number], after)
            else:
                self.jobs.submit(trial, self.commands[trial.number], place)
        except SubmissionRefused as error:
            return self._refused(trial, error)
        except (NoAnswer, SlurmIsGone) as error:
            self.waiting.insert(0, trial)
            is_worth_waiting = isinstance(error, NoAnswer) and getattr(self.jobs, "has_answered", False)
            if self._is_detached or not is_worth_waiting:
                raise
            return False
        trial.status, trial.reason, trial.exit_code = "running", None, None
        self.running[trial.number] = (trial, time.time(), place)
        if self.folder is not None:
            began = "started" if trial.job is None else f"submitted as job {trial.job}"
            log.info("trial %d of %d %s: %s", trial.number + 1, self.total, began, trial.label)
        self._note()
        return True

    def _refused(self, trial: Trial, error: SubmissionRefused) -> bool:
        if self.running and not self._is_detached:
            if trial.reason is None:
                log.warning("trial %d: %s; it is tried again when another one has ended", trial.number + 1, error)
            trial.reason = str(error)
            self.waiting.insert(0, trial)
            self._full_at = len(self.running)
            return False
        trial.status, trial.reason, trial.exit_code = "failed", str(error), 1
        log.error("trial %d: %s", trial.number + 1, error)
        self._note()
        return False

    def _settle_ended(self) -> None:
        """Record the trials that have ended."""
        if isinstance(self.jobs, SlurmJobs):
            self.jobs.refresh([trial for trial, *_ in self.running.values()])
        found = [(number, self.jobs.outcome(trial)) for number, (trial, *_) in self.running.items()]
        for number, outcome in found:
            if outcome is not None:
                self._settle(number, outcome)

    def _settle(self, number: int, outcome: Outcome) -> None:
        trial, start, _ = self.running.pop(number)
        settle_trial(trial, outcome)
        if trial.seconds is None:
            trial.seconds = round(time.time() - start, 1)
        self._note()
        if self.folder is not None:
            code = "" if trial.exit_code is None else f" (exit code {trial.exit_code})"
            ended = "finished" if trial.status == "finished" else f"FAILED{code}"
            log.info("trial %d %s after %.0f s: %s", trial.number + 1, ended, trial.seconds, trial.label)

    def _interrupt(self) -> None:
        """Stop running trials: locally by a signal, on SLURM by scancel, and there only if the user says so."""
        running = [trial for trial, *_ in self.running.values()]
        if not running:
            return
        if isinstance(self.jobs, SlurmJobs) and not _wants_to_cancel(len(running)):
            log.warning("%s keep running; run the same command again to watch them", plural(len(running), "job"))
            return
        log.warning("stopping %s, which may save first", plural(len(running), "running trial"))
        try:
            self.jobs.cancel(running)
        except LwexpError as error:
            log.error("%s", error)
            return
        for trial in running:
            trial.status = "interrupted"

    def _note(self) -> None:
        if self.folder is not None:
            update_trials(self.folder, self.trials)


def _wants_to_cancel(count: int) -> bool:
    """Ask at the terminal whether to cancel the jobs; without a terminal they keep running."""
    if not sys.stdin.isatty():
        return False
    try:
        return input(f"cancel {plural(count, 'job')}? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, KeyboardInterrupt):
        return False
