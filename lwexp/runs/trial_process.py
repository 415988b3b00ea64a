"""One trial as a process: started inside a job of submitit or SLURM, with its own share of the machine.

A trial is a new process because ranks are started by repeating this process's command line (which would start the
sweep again), and because CUDA memory and an active W&B run would leak into the next trial of the same process. The
trial leads its own session, so that stopping it also stops its ranks.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lwexp.config.folders import REPOSITORY
from lwexp.records import LwexpError, is_locked, lock_file
from lwexp.records.children import signal_when_parent_dies
from lwexp.runs.launch import first_host, job_port
from lwexp.runs.ranks import RANK_VARIABLES

_TORCHRUN = "lwexp.train.parallel.torchrun"
"""A module to start by name: torchrun itself answers a failed rank with pages, and always with exit code 1."""
RECORD_VARIABLE = "LWEXP_TRIAL_RECORD"
SAVE_SECONDS_VARIABLE = "LWEXP_SAVE_SECONDS"
GRACE_SECONDS = 120.0
"""From SIGTERM to SIGKILL: a training run saves a checkpoint in this time."""


@dataclass(frozen=True)
class TrialProcess:
    """Called by submitit; ``lwexp.runs.jobs.job_process`` starts and stops it on each node of a job.

    ``command`` are arguments of Python: a script or module, and its overrides. ``processes`` above 0 starts that many
    ranks on each of ``nodes`` through torchrun; 0 starts one process, which launches ranks itself if its hardware
    config asks for them. ``cores`` are the CPUs it may use; empty means all.
    """

    command: tuple[str, ...]
    log: str
    record: str
    cores: tuple[int, ...] = ()
    processes: int = 0
    nodes: int = 1

    def __call__(self) -> int:
        """Run the trial to its end. Returns its exit code, or the negative number of the signal that killed it."""
        with _locked_while_it_runs(self.log) as lock:
            child = self.start(lock)
        try:
            return child.wait()
        finally:
            stop(child.pid)
            self.forget(child)

    def start(self, lock: IO[str] | None = None) -> subprocess.Popen[bytes]:
        """Start the trial on this node, and write its process id beside its log.

        Args:
            lock: A locked file that the trial inherits, so that the lock lasts as long as the trial.
        """
        # The trial imports the same code as the sweep, also from a checkout that is not installed.
        path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, RECORD_VARIABLE: self.record, "PYTHONPATH": path}
        if self.nodes == 1:  # its sweep may itself be one of several workers of a search that srun has started
            environment = {key: value for key, value in environment.items() if key not in RANK_VARIABLES}
        if self.cores:
            environment["OMP_NUM_THREADS"] = str(len(self.cores))
        log = self.log_of(self.log, self._node)
        with open(log, "a", encoding="utf-8") as out:
            child = subprocess.Popen(
                self._command_line(),
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=self._prepare,
                pass_fds=[] if lock is None else [lock.fileno()],
            )
        pid_file(log).write_text(str(child.pid), encoding="utf-8")
        return child

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Remove the file with the process id of a trial that has ended."""
        assert child.returncode is not None
        pid_file(self.log_of(self.log, self._node)).unlink(missing_ok=True)

    @staticmethod
    def log_of(log: str, node: int) -> str:
        """The log of one node; node 0 has the trial's own."""
        return log if node == 0 else str(Path(log).with_suffix(f".node{node}.log"))

    @property
    def _node(self) -> int:
        """Number of this node among the trial's; 0 for a trial of one node, whatever allocation its sweep runs in."""
        return int(os.environ["SLURM_NODEID"]) if self.nodes > 1 else 0

    def _command_line(self) -> list[str]:
        if self.processes == 0:
            return [sys.executable, *self.command]
        torchrun = [sys.executable, "-m", _TORCHRUN, f"--nproc_per_node={self.processes}"]
        if self.nodes == 1:
            return [*torchrun, "--standalone", *self.command]
        first = first_host(os.environ["SLURM_STEP_NODELIST"])
        meeting = [f"--nnodes={self.nodes}", f"--node_rank={self._node}", f"--master_addr={first}"]
        return [*torchrun, *meeting, f"--master_port={job_port(os.environ['SLURM_JOB_ID'])}", *self.command]

    def _prepare(self) -> None:
        """Run in the child before the script: set its CPUs, and request a SIGTERM if the watching process dies."""
        if self.cores:
            os.sched_setaffinity(0, self.cores)
        signal_when_parent_dies(signal.SIGTERM)


def sweep_of_this_process() -> str | None:
    """Name of the sweep that started this process as a trial, if any."""
    record = os.environ.get(RECORD_VARIABLE)
    return None if record is None else Path(record).parent.name


def save_seconds_of_this_job() -> int | None:
    """Seconds before its time limit at which SLURM tells this process to save; None if it is no trial on SLURM."""
    seconds = os.environ.get(SAVE_SECONDS_VARIABLE)
    return None if seconds is None else int(seconds)


def note_run(path: Path) -> None:
    """Report this process's run directory to the sweep that started it, if any."""
    if record := os.environ.get(RECORD_VARIABLE):
        with open(record, "a", encoding="utf-8") as out:
            out.write(json.dumps(str(path)) + "\n")


def stop(*pids: int, grace: float = GRACE_SECONDS) -> None:
    """Stop the sessions that these processes lead: SIGTERM to all, then SIGKILL for what is left after ``grace``
    seconds."""
    left = set(pids)
    for sent, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        left = {pid for pid in left if _signal_group(pid, sent)}
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            left = {pid for pid in left if _signal_group(pid, 0)}
            time.sleep(0.05 if left else 0.0)


@contextmanager
def _locked_while_it_runs(log: str) -> Iterator[IO[str] | None]:
    """The locked file with the trial's process id; None if an earlier process of the trial still runs."""
    try:
        lock = lock_file(pid_file(log), what=Path(log))
    except LwexpError:  # the trial itself will find its run in use, and say so in its log
        yield None
        return
    with lock:
        yield lock


def is_running(log: str) -> bool:
    """Whether the local trial with this log runs, even if the sweep that started it has ended."""
    return is_locked(pid_file(log))


def pid_file(log: str) -> Path:
    """The file with a running trial's process id."""
    return Path(log).with_suffix(".pid")


def read_pid(log: str) -> int | None:
    """Process id of a running trial; None if it is not running."""
    try:
        return int(pid_file(log).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def share_of_cores(slot: int, slots: int, cores: Sequence[int] | None = None) -> tuple[int, ...]:
    """CPUs of one of ``slots`` parallel trials; all CPUs if there are fewer than trials.

    Example: four CPUs and two slots give (0, 1) and (2, 3).
    """
    mine = sorted(os.sched_getaffinity(0)) if cores is None else list(cores)
    if len(mine) < slots:
        return tuple(mine)
    return tuple(mine[len(mine) * slot // slots : len(mine) * (slot + 1) // slots])


def _signal_group(pid: int, number: int) -> bool:
    """Send a signal to a process group; False if it has no process any more."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    # A dead child stays a zombie until its parent, this process or init, has waited for it.
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return not _is_zombie(pid)
    return True


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (OSError, IndexError):
        return False
