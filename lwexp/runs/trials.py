"""Trials of a sweep: each a fresh process, started by submitit, watched here.

A fresh process because Lightning relaunches ranks with this process's argv (which would start the
sweep again), and because CUDA memory and an active W&B run outlive a trial that shares its process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lwexp.records import write_json

log = logging.getLogger(__name__)

RECORD_VARIABLE = "LWEXP_TRIAL_RECORD"
_POLL_SECONDS = 0.2
_WEEK_MINUTES = 7 * 24 * 60


@dataclass
class Trial:
    """One point of a sweep and what became of it."""

    number: int
    overrides: list[str]
    log: str
    exit_code: int | None = None
    seconds: float | None = None
    runs: list[str] | None = None

    @property
    def label(self) -> str:
        """What sets this trial apart, as typed."""
        return " ".join(item for item in self.overrides if not item.startswith("+sweeps="))


def run_command(command: Sequence[str], log_path: str, record_path: str) -> int:
    """Run one trial to its end; executed inside the process that submitit starts."""
    environment = {**os.environ, RECORD_VARIABLE: record_path}
    with open(log_path, "a", encoding="utf-8") as out:
        return subprocess.call(list(command), stdout=out, stderr=subprocess.STDOUT, env=environment)


def note_run(path: Path) -> None:
    """Tell the sweep that started this process, if one did, which run directory it worked in."""
    if record := os.environ.get(RECORD_VARIABLE):
        with open(record, "a", encoding="utf-8") as out:
            out.write(json.dumps(str(path)) + "\n")


def sweep_directory(root: Path, name: str, job_overrides: Sequence[Sequence[str]]) -> Path:
    """``<root>/sweep-<name>-<hash of all trials>``: the same sweep again finds its folder."""
    digest = hashlib.sha256(json.dumps([list(job) for job in job_overrides]).encode()).hexdigest()[:8]
    return root / f"sweep-{name}-{digest}"


def run_trials(
    script: Path,
    job_overrides: Sequence[Sequence[str]],
    *,
    folder: Path,
    cluster: str,
    slots: int,
    gpus_per_trial: int,
    parameters: dict[str, Any],
) -> list[Trial]:
    """Run every trial, at most ``slots`` at a time locally, and write trials.json as they end.

    A trial that fails does not stop the others. Interrupting stops the trials that run.

    Args:
        script: The entry script.
        job_overrides: Overrides of each trial.
        folder: The sweep's directory.
        cluster: submitit's executor: "local" or "slurm".
        slots: Trials at once (SLURM queues by itself, so there all are submitted).
        gpus_per_trial: GPUs a trial may see; submitit hides all others.
        parameters: Further submitit parameters, such as slurm_partition.
    """
    import submitit

    folder.mkdir(parents=True, exist_ok=True)
    trials = [
        Trial(number, list(overrides), str(folder / f"trial-{number}.log"))
        for number, overrides in enumerate(job_overrides)
    ]
    executor = submitit.AutoExecutor(folder=folder / "submitit", cluster=cluster)
    executor.update_parameters(timeout_min=_WEEK_MINUTES, gpus_per_node=gpus_per_trial, **parameters)
    waiting, running = list(trials), dict[int, tuple[Any, float]]()
    room = slots if cluster == "local" else len(trials)
    try:
        while waiting or running:
            while waiting and len(running) < room:
                trial = waiting.pop(0)
                Path(_record(trial)).unlink(missing_ok=True)
                command = [sys.executable, str(script), *trial.overrides]
                running[trial.number] = (
                    executor.submit(run_command, command, trial.log, _record(trial)),
                    time.time(),
                )
                log.info("trial %d of %d started: %s", trial.number + 1, len(trials), trial.label)
            for number in [number for number, (job, _) in running.items() if job.done()]:
                job, start = running.pop(number)
                _settle(trials[number], job, time.time() - start)
                write_json(folder / "trials.json", [asdict(trial) for trial in trials])
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        for job, _ in running.values():
            job.cancel(check=False)
        raise
    return trials


def _record(trial: Trial) -> str:
    return trial.log.removesuffix(".log") + ".runs"


def _settle(trial: Trial, job: Any, seconds: float) -> None:
    """Read a finished job's exit code; a job that died without one (killed) counts as -1."""
    error = job.exception()
    trial.exit_code = -1 if error is not None else int(job.result())
    trial.seconds = round(seconds, 1)
    record = Path(_record(trial))
    trial.runs = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    outcome = "finished" if trial.exit_code == 0 else f"FAILED with exit code {trial.exit_code}, see {trial.log}"
    log.info("trial %d %s after %.0f s: %s", trial.number + 1, outcome, seconds, trial.label)
