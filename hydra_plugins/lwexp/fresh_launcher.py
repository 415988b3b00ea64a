"""Hydra launcher whose trials are fresh processes: ``hydra/launcher=fresh`` (default) or ``slurm``.

Hydra loads plugin modules in a way that string annotations break, so none are used here.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class FreshConfig:
    """Trials on this machine."""

    _target_: str = "hydra_plugins.lwexp.fresh_launcher.FreshLauncher"
    cluster: str = "local"
    slots: int = 1  # trials at once, each with its share of the CPUs
    gpus_per_trial: int = 0  # each slot sees GPUs of its own
    processes: int = 0  # ranks on each node through torchrun; 0 starts one process, which launches its own ranks
    nodes: int = 1
    prepare: list[str] = field(default_factory=list)  # commands that the trials build on, run once before them
    trials: list[str] = field(default_factory=list)  # settings that belong together; each with each point of the grid
    question: str = ""  # what the sweep answers; stands at the top of its comparison
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class SlurmConfig(FreshConfig):
    """Trials as SLURM jobs; further sbatch settings go into parameters, such as slurm_partition."""

    cluster: str = "slurm"


_STORE = ConfigStore.instance()
_STORE.store(group="hydra/launcher", name="fresh", node=FreshConfig, provider="lwexp")
_STORE.store(group="hydra/launcher", name="slurm", node=SlurmConfig, provider="lwexp")


class FreshLauncher(Launcher):
    """Runs each trial as ``python -m lwexp <command> <overrides>`` and ends with one comparison report."""

    def __init__(
        self,
        cluster: str,
        slots: int,
        gpus_per_trial: int,
        processes: int,
        nodes: int,
        prepare: Sequence[str],
        trials: Sequence[str],
        question: str,
        parameters: DictConfig,
    ) -> None:
        from lwexp.runs.trials import Machine

        self.machine = Machine(cluster, slots, gpus_per_trial, processes, nodes, dict(parameters))
        self.prepare = list(prepare)
        self.trials = list(trials)
        self.question = question

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the composed config: it says where runs live and which sweep this is."""
        self.config = config

    def describe(self) -> Any:
        """This sweep as ``lwexp.recipe.Sweep``: what runs, where, and for which question."""
        from lwexp.config.cli import command_line, running_command, where_configs_are
        from lwexp.recipe import Sweep

        # A sweeper may just have written multirun.yaml; run directories are ours alone.
        (Path(self.config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)
        folders, plugins = where_configs_are(sys.argv[1:]), list(self.config.plugins)
        return Sweep(
            entry=[*command_line(running_command()), *folders],
            root=Path(self.config.root),
            name=(self.config.hydra.runtime.choices.get("sweeps") or "adhoc").replace("/", "-"),
            question=self.question,
            machine=self.machine,
            prepare=self.prepare,
            settings=[*folders, *([f"plugins=[{','.join(plugins)}]"] if plugins else [])],
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all trials, write the comparison, and exit with 1 if any trial failed."""
        grid = [[item for item in job if not item.startswith("dry_run=")] for job in job_overrides]
        jobs = [[*job, *shlex.split(settings)] for settings in self.trials or [""] for job in grid]
        trials = self.describe().run(jobs, dry_run=self.config.dry_run)
        if any(trial.exit_code != 0 for trial in trials):
            sys.exit(1)
        return [JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED) for trial in trials]
