"""Hydra sweeper that lets Optuna choose the trials: ``hydra/sweeper=optuna``, with a study that survives its process.

``hydra-optuna-sweeper`` on PyPI is tied to Optuna 2 and Hydra's development branch, so this one uses
Optuna's ask-and-tell interface. Hydra loads plugin modules in a way that string annotations break, so none are used
here.
"""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from lwexp.config.sweep_keys import CHOICES

ConfigStore.instance().store(group="hydra/sweeper", name="optuna", node=CHOICES["sweeper"]["optuna"], provider="lwexp")


class OptunaSweeper(Sweeper):
    """Takes settings from a study on disk, runs them as trials, and stores their scores in it."""

    def __init__(
        self, n_trials: int, metric: str, direction: str, seed: int, shared: bool, params: DictConfig | None
    ) -> None:
        self.n_trials = n_trials
        self.metric = metric
        self.direction = direction
        self.seed = seed
        self.shared = shared
        self.params: dict[str, Any] = {str(key): value for key, value in (params or {}).items()}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher that will run the trials."""
        from hydra.core.plugins import Plugins

        self.context = hydra_context
        self.dry_run = bool(config.dry_run)
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the search up to ``n_trials``, including trials of earlier starts; or print its plan."""
        from lwexp.recipe import search

        parser = OverridesParser.create(config_loader=self.context.config_loader)
        overrides = parser.parse_overrides([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        space, fixed = {}, []
        for override in overrides:
            if override.is_sweep_override():
                space[override.get_key_element()] = distribution(override)
            else:
                fixed.append(f"{override.get_key_element()}={override.get_value_element_as_str()}")
        fixed = [item for item in fixed if not item.startswith("dry_run=")]
        wanted = search.Search(space, fixed, self.n_trials, self.metric, self.direction, self.seed, self.shared)
        if self.dry_run:
            search.plan(self.launcher.describe(), wanted, self.launcher.compose)
        else:
            search.run(self.launcher.describe(), wanted)


def distribution(override: Override) -> Any:
    """Optuna's distribution for a Hydra sweep: choices, ``range()``, ``interval()``, ``tag(log, interval())``."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, ChoiceSweep):
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    assert isinstance(value, (RangeSweep, IntervalSweep)), value
    is_log = "log" in value.tags
    if isinstance(value, RangeSweep):
        start, stop, step = value.start or 0, value.stop, value.step
        assert stop is not None, value
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
            # Hydra's range excludes its end, Optuna's includes it.
            return IntDistribution(start, start + (stop - 1 - start) // step * step, step=step)
        return FloatDistribution(start, stop, step=step)
    low, high = value.start, value.end
    if all(isinstance(number, int) for number in (low, high)):
        return IntDistribution(low, high, log=is_log)
    return FloatDistribution(low, high, log=is_log)
