"""Hydra launcher whose trials are fresh processes."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class FreshConfig:
    """Values of ``hydra/launcher=fresh``."""

    _target_: str = "hydra_plugins.lwexp.fresh_launcher.FreshLauncher"
    slots: int = 1


ConfigStore.instance().store(group="hydra/launcher", name="fresh", node=FreshConfig, provider="lwexp")


class FreshLauncher(Launcher):
    """Runs each trial as ``python <script> <overrides>``."""

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands over."""
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all trials."""
        raise NotImplementedError
