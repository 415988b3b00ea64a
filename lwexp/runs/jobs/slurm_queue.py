"""SLURM's own commands: submit, states, cancel, requeue. States and reasons are SLURM's words, such as PENDING."""

import getpass
import logging
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lwexp.records import LwexpError

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 60.0
_REQUEUE_SECONDS = 120.0
_ASK_AGAIN_SECONDS = 3.0
_LIVE = {
    "PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "RESIZING", "STAGE_OUT", "SIGNALING",
    "STOPPED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
}  # fmt: skip


class JobState(NamedTuple):
    """What SLURM says about a job."""

    state: str
    reason: str = ""
    """Why it waits or has failed; empty if SLURM gives no reason."""

    @property
    def is_live(self) -> bool:
        """Whether the job waits, runs or ends at the moment."""
        return self.state in _LIVE

    def __str__(self) -> str:
        # A cancelled job keeps the reason for which it waited, such as BeginTime; that is not why it was cancelled.
        return f"{self.state} ({self.reason})" if self.reason and self.state != "CANCELLED" else self.state


class SubmissionRefused(LwexpError):  # noqa: N818 - named for what it says
    """sbatch did not take a job."""


class NoAnswer(LwexpError):  # noqa: N818 - named for what it says
    """squeue or sbatch does not answer, so nothing is known of the jobs: they may be live.

    Args:
        command: The command's name.
        why: What it or the machine says.
        message: The line for the user.
    """

    def __init__(self, command: str, why: str, message: str) -> None:
        super().__init__(message)
        self.command = command
        self.why = why


def submit(script: Path) -> str:
    """Submit a batch script and return the job's id.

    Raises:
        SubmissionRefused: With sbatch's own words.
        NoAnswer: If sbatch does not answer. SLURM may have got the job all the same.
    """
    done = _call(["sbatch", "--parsable", str(script)])
    if done is not None and done.returncode == 0:
        return done.stdout.strip().splitlines()[-1].partition(";")[0]
    # sbatch also fails if the controller does not answer in time, though it may have taken the job. Without a
    # controller squeue fails as well, which tells this from a refusal.
    try:
        taken = live_job(script)
    except NoAnswer:
        raise _no_answer("sbatch", done) from None
    if taken is not None:
        return taken
    if done is None or "timed out" in done.stderr:  # the job may still come
        raise _no_answer("sbatch", done)
    said = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in done.stderr.splitlines()]
    raise SubmissionRefused(f"sbatch refused the job: {'; '.join(line for line in said if line) or 'no reason'}")


def job_states(jobs: Iterable[str]) -> dict[str, JobState]:
    """The states of jobs; a job that SLURM has forgotten is missing.

    squeue knows the jobs that are live or have ended within the last minutes, on every cluster. sacct knows all, but
    only on a cluster with accounting.

    Raises:
        NoAnswer: If squeue does not answer at the moment.
    """
    wanted = set(jobs)
    found = _read(_squeue("--states=all", "--format=%i|%T|%r"))
    if missing := sorted(wanted - found.keys()):
        command = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(missing)}"]
        older = _call([*command, "--format=JobID,State,Reason"])
        if older is not None and older.returncode == 0:
            found |= _read(older.stdout)
    return {job: found[job] for job in wanted if job in found}


def live_job(script: Path) -> str | None:
    """The id of a job with this batch script, by its absolute path, that waits or runs.

    Raises:
        NoAnswer: If squeue does not answer at the moment.
    """
    for line in _squeue("--states=all", "--format=%i|%T|%o").splitlines():
        job, state, path = (part.strip() for part in [*line.split("|", 2), "", ""][:3])
        if path == str(script) and JobState(state).is_live:
            return job
    return None


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs that wait or run.

    Raises:
        LwexpError: If scancel does not answer or refuses a job; the jobs may still be running.
    """
    if not jobs:
        return
    done = _call(["scancel", *jobs])
    if done is None or done.returncode != 0:
        raise LwexpError(
            f"scancel did not cancel jobs {', '.join(jobs)}: {_words(done)}; they may still run; try again"
        )


def requeue(job: str) -> bool:
    """Put the running job back into the queue, from inside it. False if SLURM refuses or ends it for another reason.

    A job that was cancelled gets SIGTERM as a preempted one does, but its state is no longer RUNNING. If the controller
    does not answer it is asked again for two minutes, because the trial has saved and can go on.
    """
    deadline = time.monotonic() + _REQUEUE_SECONDS
    refused = False
    while True:
        now = _call(["squeue", "--noheader", f"--jobs={job}", "--format=%T"])
        if now is not None and now.returncode == 0:
            if refused or now.stdout.split() != ["RUNNING"]:
                return False
            done = _call(["scontrol", "requeue", job])
            if done is not None and done.returncode == 0:
                return True
            refused = True
        else:
            refused = False  # scontrol may have failed for want of the controller
        if time.monotonic() >= deadline:
            return False
        time.sleep(_ASK_AGAIN_SECONDS)


def _squeue(*options: str) -> str:
    """What squeue says of this user's jobs.

    Raises:
        NoAnswer: If it does not answer.
    """
    done = _call(["squeue", "--noheader", f"--user={getpass.getuser()}", *options])
    if done is None or done.returncode != 0:
        raise _no_answer("squeue", done)
    return done.stdout


def _no_answer(command: str, done: subprocess.CompletedProcess[str] | None) -> NoAnswer:
    why = _words(done)
    return NoAnswer(command, why, f"{command} does not answer: {why}; try again")


def _read(text: str) -> dict[str, JobState]:
    """Rows of ``job|state|reason``. sacct adds who cancelled a job, as in ``CANCELLED by 1000``."""
    found = {}
    for line in text.splitlines():
        job, state, reason = (part.strip() for part in [*line.split("|", 2), "", ""][:3])
        if job:
            found[job] = JobState(state.split()[0] if state else "", "" if reason == "None" else reason)
    return found


def _words(done: subprocess.CompletedProcess[str] | None) -> str:
    """Why a command failed, in its own words."""
    if done is None:
        return f"it is not on this machine, or took over {_TIMEOUT_SECONDS:.0f} s (login nodes have it)"
    said = "; ".join(line.strip() for line in done.stderr.splitlines() if line.strip())
    return said or f"exit code {done.returncode}"


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a command of SLURM; None if there is no such program, or it did not answer in time."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
