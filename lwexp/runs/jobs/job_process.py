"""What a trial's job runs on each of its nodes: ``srun python -m lwexp.runs.jobs.job_process trial-0.job.json``.

The trial's exit code is the job's, and is also kept in ``trial-0.exit.json``, which the sweep reads with or without
SLURM's accounting. When the trial is told to stop, by preemption or near the time limit, it saves and the job is queued
again.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

from lwexp.records import STOP_SIGNALS, LwexpError, write_json
from lwexp.runs.jobs.slurm_queue import requeue
from lwexp.runs.trial_process import TrialProcess, stop
from lwexp.text.plain import first_line

_POLL_SECONDS = 0.2
_FORWARD_AFTER_SECONDS = 5.0
"""A trial that still runs after this time gets SIGTERM from here as well, in case SLURM's signal did not reach it."""
_LAST_SECONDS = 180.0
"""SLURM ends a requeued job within its KillWait, 30 seconds by default."""
_MISTAKE = 2


class JobFile(NamedTuple):
    """What a job runs and how often it may be queued again."""

    process: TrialProcess
    save_seconds: int
    max_timeouts: int
    signal: str | None
    """What SLURM sends before the time limit, as sbatch --signal has it; None for nothing."""

    def write(self, path: Path) -> None:
        write_json(path, {**self._asdict(), "process": asdict(self.process)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a job.

        Raises:
            LwexpError: If the file is damaged. Nothing may be submitted then, because its job may be running.
        """
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            process = row["process"] | {"command": tuple(row["process"]["command"]), "cores": ()}
            seconds = row["save_seconds"]
            # Jobs of earlier versions have not noted their signal.
            sent = row.get("signal", signal_before_limit(seconds))
            return cls(TrialProcess(**process), seconds, row["max_timeouts"], sent)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LwexpError(
                f"{path} cannot be read as a trial's job ({type(error).__name__}: {first_line(error)}); cancel the "
                "job if squeue shows it, delete the file, then start the sweep again"
            ) from None


class Ending(NamedTuple):
    """How a trial ended on one node."""

    exit_code: int
    seconds: float


def signal_before_limit(save_seconds: int) -> str:
    """The signal that tells a trial to save, for sbatch --signal."""
    return f"USR2@{save_seconds}"


def job_path(log: str) -> Path:
    """The job file of the trial with this log."""
    return Path(log).with_suffix(".job.json")


def exit_path(log: str) -> Path:
    """The file with the trial's exit code on the node with this log."""
    return Path(log).with_suffix(".exit.json")


def read_endings(log: str, nodes: int) -> list[Ending] | None:
    """How the trial ended on each node; None if it has not ended on all of them."""
    found = []
    for node in range(nodes):
        try:
            row = json.loads(exit_path(TrialProcess.log_of(log, node)).read_text(encoding="utf-8"))
            found.append(Ending(int(row["exit_code"]), float(row["seconds"])))
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return found


def clear_endings(log: str, nodes: int) -> None:
    """Forget how an earlier job of the trial ended."""
    for node in range(nodes):
        exit_path(TrialProcess.log_of(log, node)).unlink(missing_ok=True)
    _timeouts_path(log).unlink(missing_ok=True)


def run_job(path: Path) -> int:
    """Run this node's part of the trial and return the job's exit code."""
    job = JobFile.read(path)
    node = int(os.environ.get("SLURM_NODEID", "0"))
    told: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        told.append(number)

    for number in STOP_SIGNALS:
        signal.signal(number, note)
    # A start that lost another node has left its own exit code, and SLURM has queued the job again.
    log = TrialProcess.log_of(job.process.log, node)
    exit_path(log).unlink(missing_ok=True)
    start = time.monotonic()
    code = _run(job, told)
    if told and code not in (0, _MISTAKE) and (node > 0 or _queue_again(job, told[0])):
        time.sleep(_LAST_SECONDS)  # SLURM ends the job when node 0 has put it back into the queue
        return 128 + signal.SIGTERM
    write_json(exit_path(log), Ending(code, round(time.monotonic() - start, 1))._asdict())
    return code if code >= 0 else 128 - code


def _run(job: JobFile, told: list[int]) -> int:
    child = job.process.start()
    first: float | None = None
    forwarded = False
    while child.poll() is None:
        time.sleep(_POLL_SECONDS)
        if told and first is None:
            first = time.monotonic()
        if first is not None and not forwarded and time.monotonic() - first > _FORWARD_AFTER_SECONDS:
            child.send_signal(signal.SIGTERM)
            forwarded = True
    # torchrun may have ended while its ranks still save.
    stop(child.pid, grace=job.save_seconds)
    job.process.forget(child)
    return child.returncode


def _queue_again(job: JobFile, told: int) -> bool:
    """Put the job back into the queue, unless it was cancelled or has reached its time limit too often."""
    if told != signal.SIGTERM:  # SLURM's signal before the time limit
        timeouts = _timeouts(job.process.log) + 1
        if timeouts > job.max_timeouts:
            _say(job, f"error: the time limit was reached {timeouts} times; raise hydra.launcher.time or max_timeouts")
            return False
        write_json(_timeouts_path(job.process.log), timeouts)
    if requeue(os.environ["SLURM_JOB_ID"]):
        _say(job, f"{signal.Signals(told).name}: the job is queued again")
        return True
    return False


def _say(job: JobFile, line: str) -> None:
    with open(job.process.log, "a", encoding="utf-8") as out:
        out.write(line + "\n")


def _timeouts_path(log: str) -> Path:
    return Path(log).with_suffix(".timeouts.json")


def _timeouts(log: str) -> int:
    try:
        return int(json.loads(_timeouts_path(log).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return 0


if __name__ == "__main__":
    sys.exit(run_job(Path(sys.argv[1])))
