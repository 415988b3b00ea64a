"""The cases of ``make cluster-test``: each runs real commands and checks what a user would see."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lwexp.config.folders import REPOSITORY

_COMMAND_SECONDS = 400
_POLL_SECONDS = 0.5


class Case:
    """Runs commands in a folder and reads what they leave.

    Args:
        folder: Where runs, sweeps and logs of all cases go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *words: str, code: int = 0) -> str:
        """Run ``lwexp <words>`` and return what it printed; fails if its exit code is not ``code``."""
        done = subprocess.run(
            [sys.executable, "-m", "lwexp", *words],
            cwd=self.folder, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        said = done.stdout + done.stderr
        (self.folder / "commands.log").open("a").write(f"$ lwexp {' '.join(words)}\n{said}[{done.returncode}]\n")
        assert done.returncode == code, f"exit code {done.returncode}, wanted {code}: {said[-1500:]}"
        assert "Traceback" not in said, said[-1500:]
        return said

    def sweep(self, name: str, *words: str, code: int = 0) -> str:
        """Run a sweep of trainings whose folder and runs carry ``name``."""
        common = ["experiment=smoke", "hydra/launcher=slurm", f"name={name}", "hydra.launcher.time=20"]
        return self.run("train", "-m", *common, *words, code=code)

    def trials(self, name: str) -> list[dict[str, Any]]:
        """The trials of the sweep with this name."""
        for file in sorted(self.folder.glob("runs/sweep-*/trials.json")):
            trials: list[dict[str, Any]] = json.loads(file.read_text())
            if any(f"name={name}" in trial["overrides"] for trial in trials):
                return trials
        raise AssertionError(f"no sweep has trials named {name}")

    def sweep_folder(self, name: str) -> str:
        """The folder of the sweep with this name."""
        return str(Path(self.trials(name)[0]["log"]).parent)

    def log(self, name: str) -> str:
        """The log of the sweep's first trial."""
        path = self.folder / self.trials(name)[0]["log"]
        return path.read_text() if path.exists() else ""


def slurm(*words: str) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def wait_for(what: str, ready: Callable[[], object], seconds: float) -> None:
    """Wait until ``ready()`` is true."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(_POLL_SECONDS)


def two_nodes(case: Case) -> None:
    """A trial of two nodes, one rank each, ends in a table and a comparison."""
    where = ["hydra.launcher.nodes=2", "hydra.launcher.processes=1", "hardware=cpu_zero3", "hardware.num_nodes=2"]
    said = case.sweep("two", *where, "hardware.devices=1", "objective.optimizer.lr=1e-3")
    (trial,) = case.trials("two")
    assert (trial["status"], trial["exit_code"]) == ("finished", 0), trial
    assert trial["runs"], trial
    assert "1 trial = 1 finished" in said, said[-500:]


def preemption(case: Case) -> None:
    """A job of higher priority takes the nodes: the run, with W&B on, saves, is requeued and continues."""
    settings = ["tracking=wandb_offline", "objective.epochs=400", "hydra.launcher.partition=spot"]
    case.sweep("low", *settings, "hydra.launcher.detach=true", "objective.optimizer.lr=1e-3")
    job = case.trials("low")[0]["job"]
    wait_for("the first steps", lambda: _steps(case, "low") >= 3, 120)
    high = slurm(
        "sbatch", "--parsable", "--partition=prio", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 5"
    )
    wait_for("the save", lambda: "; saved" in case.log("low"), 60)
    wait_for("the requeue", lambda: slurm("squeue", "-h", "-j", job, "-o", "%T") in ("PENDING", "REQUEUED"), 90)
    before = _steps(case, "low")
    slurm("scancel", high)
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")  # SLURM lets a requeued job wait for two minutes
    wait_for("the run to go on", lambda: _steps(case, "low") > before, 180)
    starts = re.findall(r"training tiny_glm: (\d+) of", case.log("low"))
    assert [int(step) > 0 for step in starts] == [False, True], f"started at steps {starts}"
    case.run("sweep", "cancel", case.sweep_folder("low"))
    wait_for("the end of the job", lambda: not slurm("squeue", "-h", "-j", job, "-o", "%T"), 90)
    assert case.trials("low")[0]["status"] == "interrupted"


def _steps(case: Case, name: str) -> int:
    files = list(case.folder.glob(f"runs/{name}-*/metrics.jsonl"))
    return len(files[0].read_text().splitlines()) if files else 0


def cancelled_pending(case: Case) -> None:
    """``scancel`` of a waiting job: the sweep notices it without accounting and reports SLURM's own word for it."""
    words = ["hydra.launcher.sbatch.begin=now+1hour", "hydra.launcher.detach=true", "objective.optimizer.lr=1e-3"]
    case.sweep("gone", *words)
    (trial,) = case.trials("gone")
    assert "PENDING" in case.run("sweep", "status", case.sweep_folder("gone"))
    slurm("scancel", trial["job"])
    case.run("sweep", "wait", case.sweep_folder("gone"), code=1)
    (trial,) = case.trials("gone")
    assert trial["status"] == "failed", trial
    assert trial["reason"].startswith("CANCELLED"), trial


def refused(case: Case) -> None:
    """sbatch refuses a job: lwexp prints its message in one line, without a traceback."""
    said = case.sweep("no", "hydra.launcher.partition=nosuch", "objective.optimizer.lr=1e-3", code=1)
    (trial,) = case.trials("no")
    assert "invalid partition" in trial["reason"], trial
    assert sum("sbatch refused the job" in line for line in said.splitlines()) >= 1, said[-500:]


def attached_again(case: Case) -> None:
    """Running the same command again watches the waiting jobs and submits nothing."""
    words = ["objective.optimizer.lr=1e-3,2e-3", "hydra.launcher.max_parallel_trials=1"]
    case.sweep("back", *words, "hydra.launcher.detach=true")
    first = [trial["job"] for trial in case.trials("back")]
    case.sweep("back", *words)
    assert [trial["job"] for trial in case.trials("back")] == first
    assert [trial["status"] for trial in case.trials("back")] == ["finished", "finished"]


CASES: dict[str, Callable[[Case], None]] = {
    "two_nodes": two_nodes,
    "preemption": preemption,
    "cancelled_pending": cancelled_pending,
    "refused": refused,
    "attached_again": attached_again,
}
