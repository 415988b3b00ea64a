"""Hydra launcher whose trials are fresh processes: ``hydra/launcher=fresh`` (default) or ``slurm``.

Hydra loads plugin modules in a way that string annotations break, so none are used here.
"""

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
    slots: int = 1  # trials at once
    gpus_per_trial: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class SlurmConfig(FreshConfig):
    """Trials as SLURM jobs; further sbatch settings go into parameters, such as slurm_partition."""

    cluster: str = "slurm"


_STORE = ConfigStore.instance()
_STORE.store(group="hydra/launcher", name="fresh", node=FreshConfig, provider="lwexp")
_STORE.store(group="hydra/launcher", name="slurm", node=SlurmConfig, provider="lwexp")


class FreshLauncher(Launcher):
    """Runs each trial as ``python <script> <overrides>`` and ends with one comparison report."""

    def __init__(self, cluster: str, slots: int, gpus_per_trial: int, parameters: DictConfig) -> None:
        self.cluster = cluster
        self.slots = slots
        self.gpus_per_trial = gpus_per_trial
        self.parameters = dict(parameters)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the composed config: it says where runs live and which sweep this is."""
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all trials, write the comparison, and exit with 1 if any trial failed."""
        from lwexp.recipe import compare_trials
        from lwexp.runs.logs import console_log
        from lwexp.runs.trials import run_trials, sweep_directory

        console_log()
        # The sweeper has just written multirun.yaml; run directories are ours alone.
        (Path(self.config.hydra.sweep.dir) / "multirun.yaml").unlink(missing_ok=True)
        name = self.config.hydra.runtime.choices.get("sweeps") or "adhoc"
        folder = sweep_directory(Path(self.config.root), name, job_overrides)
        trials = run_trials(
            Path(sys.argv[0]).resolve(),
            job_overrides,
            folder=folder,
            cluster=self.cluster,
            slots=self.slots,
            gpus_per_trial=self.gpus_per_trial,
            parameters=self.parameters,
        )
        compare_trials(trials, folder)
        if any(trial.exit_code != 0 for trial in trials):
            sys.exit(1)
        return [JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED) for trial in trials]
