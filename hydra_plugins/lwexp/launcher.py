"""Hydra launcher that starts each trial as a new process: ``hydra/launcher=subprocess`` (default) or ``slurm``.

Hydra loads plugin modules in a way that string annotations break, so none are used here.
"""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lwexp.config.sweep_keys import CHOICES, Slurm, Subprocess, unknown_key
from lwexp.records import LwexpError

for _name, _keys in CHOICES["launcher"].items():
    ConfigStore.instance().store(group="hydra/launcher", name=_name, node=_keys, provider="lwexp")


class TrialLauncher(Launcher):
    """Runs each trial as ``python -m lwexp <command> <overrides>`` and ends with one comparison report."""

    def __init__(self, **keys: Any) -> None:
        cls = Slurm if keys["cluster"] == "slurm" else Subprocess
        known = {field.name for field in fields(cls)}
        self.where = cls(**{key: value for key, value in keys.items() if key in known})
        # Unknown keys, added with a plus. Reported in setup, because Hydra wraps errors raised here.
        self.unknown = sorted(set(keys) - known)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep the composed config, which has the root of the runs and the sweep's name."""
        if self.unknown:
            raise LwexpError(unknown_key(f"hydra.launcher.{self.unknown[0]}"))
        self.where.check()
        self.config = config
        self.loader = hydra_context.config_loader

    def describe(self) -> Any:
        """This sweep as a ``lwexp.recipe.Sweep``."""
        from lwexp.config.cli import command_line, running_command, where_configs_are
        from lwexp.recipe import Sweep

        folders, plugins = where_configs_are(sys.argv[1:]), list(self.config.plugins)
        return Sweep(
            entry=[*command_line(running_command()), *folders],
            root=Path(self.config.root),
            name=(self.config.hydra.runtime.choices.get("sweeps") or "adhoc").replace("/", "-"),
            where=self.where,
            shared=[*folders, *([f"plugins=[{','.join(plugins)}]"] if plugins else [])],
        )

    def compose(self, overrides: Sequence[str]) -> Any:
        """The checked config of one trial."""
        from lwexp.config.cli import trial_config

        return trial_config(lambda: self.loader.load_sweep_config(self.config, list(overrides)))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all trials, write the comparison, and exit with 1 if any trial failed."""
        grid = [[item for item in job if not item.startswith("dry_run=")] for job in job_overrides]
        jobs = [[*job, *shlex.split(settings)] for settings in self.where.trials or [""] for job in grid]
        if self.config.dry_run:
            self.describe().plan(jobs, self.compose)
            return []
        trials = self.describe().run(jobs)
        sweep_is_detached = isinstance(self.where, Slurm) and self.where.detach
        if any(trial.status == "failed" if sweep_is_detached else trial.exit_code != 0 for trial in trials):
            sys.exit(1)
        return [JobReturn(overrides=trial.overrides, status=JobStatus.COMPLETED) for trial in trials]
