"""The keys below ``hydra.launcher`` (where trials run) and ``hydra.sweeper`` (which trials there are).

Plain dataclasses, because Hydra registers them as they are. A key's help text is in its metadata.
"""

# ruff: noqa: RUF009  (_key is dataclasses.field)

import dataclasses
import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from lwexp.records import LwexpError


def _key(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=type(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass
class Subprocess:
    """hydra/launcher=subprocess: trials on this machine."""

    _target_: str = "hydra_plugins.lwexp.launcher.TrialLauncher"
    _convert_: str = "all"
    cluster: str = "local"
    max_parallel_trials: int | None = _key(1, "trials at the same time, each with its share of the CPUs")
    gpus: int = _key(0, "GPUs that each trial sees; parallel trials see different ones")
    processes: int = _key(0, "ranks that torchrun starts on each node; 0: the trial starts its ranks itself")
    nodes: int = _key(1, "nodes of a trial")
    setup_commands: list[str] = _key([], "commands that the trials build on, run once before them")
    trials: list[str] = _key([], "settings that belong together; each is combined with each point of the grid")
    question: str = _key("", "what the sweep answers; the title of its comparison")

    @property
    def is_slurm(self) -> bool:
        return self.cluster == "slurm"

    def check(self) -> None:
        """Refuse impossible values.

        Raises:
            LwexpError: Naming the key.
        """
        least = {"max_parallel_trials": 1, "gpus": 0, "processes": 0, "nodes": 1}
        for key, value in ((key, getattr(self, key)) for key in least):
            if value is not None and value < least[key]:
                raise LwexpError(f"hydra.launcher.{key}={value}: wanted {least[key]} or more")
        if self.nodes > 1 and not self.is_slurm:
            raise LwexpError(f"hydra.launcher.nodes={self.nodes}: this machine is one node; add hydra/launcher=slurm")

    @property
    def summary(self) -> str:
        """How trials run, in a few words."""
        count = "all at once" if self.max_parallel_trials is None else f"{self.max_parallel_trials} at a time"
        return f"{count} {'on SLURM' if self.is_slurm else 'on this machine'}"


@dataclass
class Slurm(Subprocess):
    """hydra/launcher=slurm: each trial a SLURM job."""

    cluster: str = "slurm"
    max_parallel_trials: int | None = _key(None, "jobs in the queue at the same time; null: all (one for a search)")
    gpus: int = _key(0, "GPUs on each node of a trial")
    partition: str | None = _key(None, "sbatch --partition")
    account: str | None = _key(None, "sbatch --account")
    qos: str | None = _key(None, "sbatch --qos")
    constraint: str | None = _key(None, "sbatch --constraint")
    time: str | None = _key(None, "limit such as 720 (minutes), 12:00:00 or 2-12; null: the partition's default")
    cpus: int | None = _key(None, "CPUs of each node (sbatch --cpus-per-task); null: one for each GPU or rank")
    memory_gb: int | None = _key(None, "memory of each node (sbatch --mem); null: the cluster's default")
    save_seconds: int = _key(150, "seconds before the limit at which the trial is told to save")
    max_timeouts: int = _key(3, "how often a trial that has reached its limit is queued again")
    unanswered_minutes: int = _key(30, "how long a sweep waits for SLURM when it does not answer; its jobs go on")
    setup_lines: list[str] = _key([], "shell lines that each job runs first, such as 'module load cuda'")
    setup_sbatch: dict[str, Any] = _key({}, "options for sbatch of setup commands only, such as {partition: cpu}")
    detach: bool = _key(False, "submit and return; lwexp sweep status|wait|cancel does the rest")
    container: str | None = _key(None, "image that trials run in (srun --container-image, which needs pyxis)")
    container_mounts: str | None = _key(None, "folders seen in the container (srun --container-mounts)")
    srun_args: list[str] = _key([], "further arguments for srun")
    sbatch: dict[str, Any] = _key({}, "further options for sbatch, such as hydra.launcher.sbatch.nodelist=gpu7")

    def check(self) -> None:
        super().check()
        if self.save_seconds < 0:
            raise LwexpError(f"hydra.launcher.save_seconds={self.save_seconds}: wanted 0 or more")
        if self.unanswered_minutes < 1:
            raise LwexpError(f"hydra.launcher.unanswered_minutes={self.unanswered_minutes}: wanted 1 or more")
        if self.minutes and self.save_seconds >= 60 * self.minutes:  # SLURM reads 0 minutes as no limit
            raise LwexpError(
                f"hydra.launcher.save_seconds={self.save_seconds}: trials would be told to save when they start, "
                f"because hydra.launcher.time={self.time} is {60 * self.minutes} s; raise it or lower save_seconds"
            )

    @property
    def summary(self) -> str:
        asked = {
            "partition": self.partition, "account": self.account, "qos": self.qos, "constraint": self.constraint,
            "time": self.time, "nodes": self.nodes if self.nodes > 1 else None, "GPUs": self.gpus or None,
            "CPUs": self.cpus, "GB": self.memory_gb, "container": self.container,
        }  # fmt: skip
        return ", ".join([super().summary, *(f"{key} {value}" for key, value in asked.items() if value is not None)])

    @property
    def minutes(self) -> int | None:
        """``time`` in minutes, rounded up; None for the partition's default.

        Raises:
            LwexpError: If ``time`` is not in one of SLURM's formats.
        """
        if self.time is None:
            return None
        match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", self.time)
        if match is None:
            raise LwexpError(f"hydra.launcher.time={self.time}: wanted minutes, HH:MM:SS or D-HH:MM:SS")
        days, *parts = (None if part is None else int(part) for part in match.groups())
        numbers = [part for part in parts if part is not None]
        if days is not None or len(numbers) == 3:
            hours, minutes, seconds = [*numbers, 0, 0][:3]
        else:  # minutes, or minutes:seconds
            hours, (minutes, seconds) = 0, [*numbers, 0][:2]
        return (days or 0) * 1440 + hours * 60 + minutes + (seconds > 0)


@dataclass
class Grid:
    """hydra/sweeper=grid: every combination of the values."""

    _target_: str = "hydra_plugins.lwexp.grid_sweeper.GridSweeper"
    params: dict[str, Any] = _key({}, "key: values, comma separated, as on the command line")


@dataclass
class Optuna:
    """hydra/sweeper=optuna: a search."""

    _target_: str = "hydra_plugins.lwexp.optuna_sweeper.OptunaSweeper"
    n_trials: int = _key(20, "trials of the whole search, those of earlier starts included")
    metric: str = _key("S_l", "a number of the trial's evaluation, as in its summary.json")
    direction: str = _key("maximize", "maximize or minimize")
    seed: int = _key(0, "of Optuna's sampler")
    shared: bool = _key(False, "true in several processes, on any nodes: they work on one study together")
    params: dict[str, Any] = _key({}, "key: space, such as tag(log, interval(1e-6, 1e-4))")


CHOICES: dict[str, dict[str, type]] = {
    "launcher": {"subprocess": Subprocess, "slurm": Slurm},
    "sweeper": {"grid": Grid, "optuna": Optuna},
}
"""Group below ``hydra/`` -> choice -> its keys."""

# What submitit, sbatch and earlier versions of lwexp call our keys.
_OTHER_NAMES = {
    "slots": "max_parallel_trials", "n_jobs": "max_parallel_trials", "array_parallelism": "max_parallel_trials",
    "gpus_per_trial": "gpus", "gpus_per_node": "gpus", "gres": "gpus", "prepare": "setup_commands",
    "parameters": "sbatch", "additional_parameters": "sbatch", "timeout_min": "time", "mem": "memory_gb",
    "mem_gb": "memory_gb", "cpus_per_task": "cpus", "max_num_timeout": "max_timeouts",
    "signal_delay_s": "save_seconds", "tasks_per_node": "processes", "container_image": "container",
}  # fmt: skip


def keys_of(choice: type) -> dict[str, str]:
    """Key -> help, of a launcher or sweeper."""
    return {item.name: item.metadata["help"] for item in dataclasses.fields(choice) if "help" in item.metadata}


def unknown_key(key: str) -> str:
    """What to type instead of a key below ``hydra.launcher`` or ``hydra.sweeper`` that does not exist.

    Example:
        ``hydra.launcher.partition`` where hydra/launcher=subprocess is chosen: only hydra/launcher=slurm has it.
    """
    _, group, name = key.split(".")[:3]
    choices = {choice: keys_of(cls) for choice, cls in CHOICES[group].items()}
    having = [choice for choice, keys in choices.items() if name in keys]
    if having:
        return f"{key}: only hydra/{group}={having[0]} has this key; add hydra/{group}={having[0]}"
    known = list(dict.fromkeys(name for keys in choices.values() for name in keys))
    plain = name.removeprefix("slurm_")
    near = difflib.get_close_matches(plain, known, n=1, cutoff=0.7)
    meant = _OTHER_NAMES.get(plain) or (near[0] if near else None)
    if meant is not None:
        owners = [choice for choice, keys in choices.items() if meant in keys]
        where = "" if len(owners) == len(choices) else f" (of hydra/{group}={owners[0]})"
        return f"{key}: no such key; did you mean hydra.{group}.{meant}{where}?"
    return f"{key}: no such key; there are {', '.join(known)}"
