"""The sweeper that tries every combination: ``hydra/sweeper=grid``, the default.

Hydra's own sweeper writes multirun.yaml and composes all trials before the first starts, so one trial's mistake ends
the sweep with a message that does not name the trial. Here each trial is checked by itself, in its process or in a
dry run. Hydra loads plugin modules in a way that string annotations break, so none are used here.
"""

from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

from lwexp.config.sweep_keys import CHOICES

ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=CHOICES["sweeper"]["grid"], provider="lwexp")


class GridSweeper(BasicSweeper):
    """Passes all combinations to the launcher."""

    def __init__(self, params: Any) -> None:
        super().__init__(max_batch_size=None, params=dict(params or {}))

    def sweep(self, arguments: list[str]) -> Any:
        """Launch the trials of ``params`` and the command line; the command line wins."""
        from lwexp.records import LwexpError

        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        for override in overrides:
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise LwexpError(
                    f"{override.input_line}: a grid needs values, such as choice(1, 2) or range(0, 3); "
                    f"an interval is searched with hydra/sweeper=optuna"
                )
        (trials,) = self.split_arguments(overrides, None)
        return self.launcher.launch(trials, initial_job_idx=0)
