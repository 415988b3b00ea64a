"""What the cases of ``make cluster-test`` share: running commands, reading what they leave, waiting with a bound."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lwexp.config.folders import REPOSITORY

LWEXP = [sys.executable, "-m", "lwexp"]
MACHINE = Path(__file__).parent / "machine.sh"
_COMMAND_SECONDS = 600
_POLL_SECONDS = 0.5
_END_SECONDS = 120.0
_REST_SECONDS = 15.0
"""What is left of a requeued job ends in this time. Earlier, SLURM would take the exit code of its earlier
start for that of its new one."""


class Case:
    """Runs commands in a folder and reads what they leave.

    Args:
        folder: Where runs, sweeps and logs of all cases go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}

    def run(self, *words: str, code: int = 0, under: tuple[str, ...] = ()) -> str:
        """Run ``lwexp <words>`` and return what it printed; fails if its exit code is not ``code``.

        Args:
            words: Arguments of lwexp.
            code: The exit code that is wanted.
            under: A command that starts it, such as srun.
        """
        done = subprocess.run(
            [*under, *LWEXP, *words],
            cwd=self.folder, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False,
            env=self.environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        said = done.stdout + done.stderr
        (self.folder / "commands.log").open("a").write(
            f"$ {' '.join([*under, 'lwexp', *words])}\n{said}[{done.returncode}]\n"
        )
        assert done.returncode == code, f"exit code {done.returncode}, wanted {code}: {said[-1500:]}"
        assert "Traceback" not in said, said[-1500:]
        return said

    @contextmanager
    def started(self, *command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A command that runs beside the block; killed at its end if it still runs."""
        with (self.folder / "started.log").open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            outputs: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | options
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, **outputs)
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait(30)

    def sweep_words(self, name: str, *words: str, minutes: int = 20) -> list[str]:
        """Arguments of lwexp for a sweep of trainings whose folder and runs carry ``name``."""
        common = ["experiment=smoke", "hydra/launcher=slurm", f"name={name}", f"hydra.launcher.time={minutes}"]
        return ["train", "-m", *common, *words]

    def sweep(self, name: str, *words: str, code: int = 0, minutes: int = 20) -> str:
        """Run such a sweep."""
        return self.run(*self.sweep_words(name, *words, minutes=minutes), code=code)

    def detached(self, name: str, *words: str, minutes: int = 20) -> str:
        """Submit a sweep of one trial and return its job's id."""
        self.sweep(name, *words, "hydra.launcher.detach=true", "objective.optimizer.lr=1e-3", minutes=minutes)
        job: str = self.trials(name)[0]["job"]
        return job

    def trials(self, name: str) -> list[dict[str, Any]]:
        """The trials of the sweep with this name; empty before it has written them."""
        for file in sorted(self.folder.glob("runs/**/sweep-*/trials.json")):
            trials: list[dict[str, Any]] = json.loads(file.read_text())
            if any(f"name={name}" in trial["overrides"] for trial in trials):
                return trials
        return []

    def sweep_folder(self, name: str) -> str:
        """The folder of the sweep with this name."""
        return str(Path(self.trials(name)[0]["log"]).parent)

    def log(self, name: str) -> str:
        """The log of the sweep's first trial."""
        path = self.folder / self.trials(name)[0]["log"]
        return path.read_text() if path.exists() else ""

    def steps(self, name: str) -> int:
        """Optimiser steps in the metrics of the training run with this name."""
        files = list(self.folder.glob(f"runs/{name}-*/metrics.jsonl"))
        return len(files[0].read_text().splitlines()) if files else 0

    def wait_for_steps(self, name: str, least: int, seconds: float = 300) -> None:
        """Wait until the training run has so many steps."""
        wait_for(f"step {least} of {name}", lambda: self.steps(name) >= least, seconds)

    def cancel(self, name: str, job: str) -> None:
        """Cancel a sweep as a user does, and wait until SLURM has ended its job."""
        self.run("sweep", "cancel", self.sweep_folder(name))
        wait_for("the end of the job", lambda: not state_of(job), _END_SECONDS)
        assert self.trials(name)[0]["status"] == "interrupted"


def slurm(*words: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def state_of(job: str) -> str:
    """SLURM's word for a job that waits or runs; empty for one that has ended."""
    rows = slurm("squeue", "--noheader", "--me", "--format=%i %T").splitlines()
    return dict(row.split() for row in rows).get(job, "")


def wait_for_requeue(job: str) -> None:
    """Wait until the job is queued again."""
    wait_for("the requeue", lambda: state_of(job) in ("PENDING", "REQUEUED"), _END_SECONDS)


def start_at_once(job: str) -> None:
    """Wait until the job is queued again, and spare the test the two minutes that SLURM lets such a job wait."""
    wait_for_requeue(job)
    time.sleep(_REST_SECONDS)
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")


def resumed(log: str) -> bool:
    """Whether the log has a start at step 0 and then one that went on from a saved step."""
    steps = [int(step) for step in re.findall(r"training tiny_glm: (\d+) of", log)]
    return [step > 0 for step in steps] == [False, True]


def wait_for(what: str, ready: Callable[[], object], seconds: float) -> float:
    """Wait until ``ready()`` is true; returns how many seconds that took, and fails after ``seconds``."""
    start = time.monotonic()
    while not ready():
        assert time.monotonic() - start < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - start


def with_accounting() -> None:
    """Restart SLURM with its accounting, so that sacct answers, and squeue forgets ended jobs within seconds."""
    subprocess.run(["bash", str(MACHINE), "accounting"], check=True, timeout=_END_SECONDS, stdout=subprocess.DEVNULL)


def node(action: str, number: int, *command: str) -> list[str]:
    """The command that powers a node off or on, or runs something on it."""
    return ["bash", str(MACHINE), action, str(number), *command]
