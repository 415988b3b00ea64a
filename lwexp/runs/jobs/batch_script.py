"""The batch script of a trial."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwexp.config.folders import REPOSITORY
from lwexp.config.sweep_keys import Slurm
from lwexp.runs.jobs.job_process import signal_before_limit
from lwexp.runs.trial_process import SAVE_SECONDS_VARIABLE


def batch_script(
    where: Slurm, name: str, job_file: Path, output: Path, options: dict[str, Any], after: Sequence[str] = ()
) -> str:
    """The script that sbatch gets.

    Args:
        where: The launcher's keys.
        name: The job's name in squeue.
        job_file: What the job runs, read by ``lwexp.runs.jobs.job_process``.
        output: File for what SLURM and the setup lines print; the trial has a log of its own.
        options: Further options for sbatch; they win over those of the keys. None leaves an option out, 0 is a value.
        after: Dependencies, such as ``afterany:17``.
    """
    cpus = where.cpus or max(where.gpus, where.processes)
    signal = signal_before_limit(where.save_seconds)
    asked: dict[str, Any] = {
        "job-name": name,
        "output": output,
        "open-mode": "append",
        "requeue": True,
        "nodes": where.nodes,
        "ntasks-per-node": 1,
        "signal": signal,
        "partition": where.partition,
        "account": where.account,
        "qos": where.qos,
        "constraint": where.constraint,
        "time": where.minutes,
        "gpus-per-node": where.gpus or None,
        "cpus-per-task": cpus or None,
        "mem": None if where.memory_gb is None else f"{where.memory_gb}G",
        "dependency": ",".join(after) or None,
        "kill-on-invalid-dep": "yes" if after else None,
        **_as_typed(options),
    }
    path = shlex.quote(str(REPOSITORY))
    lines = [
        "#!/bin/bash",
        *(_option(key, value) for key, value in asked.items() if value is not None and value is not False),
        *where.setup_lines,
        f"export PYTHONPATH={path}${{PYTHONPATH:+:$PYTHONPATH}}",
        *([f"export {SAVE_SECONDS_VARIABLE}={where.save_seconds}"] if asked["signal"] == signal else []),
        # From SLURM 22.05 on, srun does not inherit --cpus-per-task from sbatch.
        *([f"export SRUN_CPUS_PER_TASK={asked['cpus-per-task']}"] if asked["cpus-per-task"] else []),
        shlex.join([*_srun(where), sys.executable, "-m", "lwexp.runs.jobs.job_process", str(job_file)]),
    ]
    return "\n".join(lines) + "\n"


def signal_of(where: Slurm, options: dict[str, Any]) -> str | None:
    """What SLURM sends the job before its time limit; None if the options leave the signal out."""
    found = _as_typed(options).get("signal", signal_before_limit(where.save_seconds))
    return None if found is None or found is False else str(found)


def _as_typed(options: dict[str, Any]) -> dict[str, Any]:
    """Options as sbatch has them, such as ``gpus-per-node`` for ``gpus_per_node``."""
    return {key.replace("_", "-"): value for key, value in options.items()}


def _option(key: str, value: Any) -> str:
    return f"#SBATCH --{key}" if value is True else f"#SBATCH --{key}={shlex.quote(str(value))}"


def _srun(where: Slurm) -> list[str]:
    """srun must not end the other nodes when one has stopped: they may be writing their part of a checkpoint."""
    container = [("--container-image", where.container), ("--container-mounts", where.container_mounts)]
    named = [f"{option}={value}" for option, value in container if value is not None]
    return ["srun", "--kill-on-bad-exit=0", "--unbuffered", *where.srun_args, *named]
