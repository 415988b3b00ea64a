"""Compose a config without Hydra's command line: for tests, notebooks and other rooms."""

from collections.abc import Sequence
from pathlib import Path

from lwexp.config.base import Tree, validate
from lwexp.config.defaults import defaults_in_hydra
from lwexp.config.folders import CONF
from lwexp.config.overrides.quoting import as_typed
from lwexp.config.schema import Config
from lwexp.config.upgrade import upgrade
from lwexp.extend import load_plugins


def compose(*overrides: str, config_dir: str | Path | None = None) -> Config:
    """Compose lwexp/conf/config.yaml with command-line style overrides and pass it through the gate.

    Args:
        overrides: As on the command line, ``plugins=[...]`` included.
        config_dir: A folder of your own with groups and experiments, as ``--config-dir`` names one.

    Raises:
        LwexpError: For every mistake, with the same message as on the command line.

    Example:
        ``compose("experiment=miniature", "seed=1").model.name``
    """
    load_plugins(plugins_named(overrides))
    tree = compose_tree(*overrides, config_dir=config_dir)
    return gate(tree)


def gate(tree: Tree) -> Config:
    """Validate a tree after loading the plugins that it names. Plugin files are stored with their full
    paths, so that the run can be read from any folder."""
    files = _plugin_files(tree)
    load_plugins(files)
    return validate({**tree, "plugins": files} if files else tree, Config)


def _plugin_files(tree: Tree) -> list[str]:
    """Plugins with full paths; empty also for what is not a list of names, which the schema refuses."""
    names = tree.get("plugins")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return []
    return [str(Path(name).resolve()) if Path(name).is_file() else name for name in names]


def read_config(tree: Tree) -> Config:
    """Read a run's config.json, including one written by an earlier version.

    Raises:
        LwexpError: If this version cannot read it, or one of its plugins is missing.
    """
    load_plugins(_plugin_files(tree))
    return gate(upgrade(tree))


def plugins_named(overrides: Sequence[str]) -> list[str]:
    """The plugins that overrides name, read before Hydra does: ``plugins=[my_lab.simpo,extra.py]``."""
    names = [item.partition("=")[2] for item in overrides if item.lstrip("+").startswith("plugins=")]
    return [name.strip(" '\"") for name in names[-1].strip("[]").split(",") if name.strip()] if names else []


def compose_tree(*overrides: str, config_dir: str | Path | None = None) -> Tree:
    """The composed and resolved tree, before the gate."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    from lwexp.config.mistakes.limits import refuse_oversized, within_limits
    from lwexp.config.mistakes.translate import mistakes_in_one_line

    refuse_oversized(overrides)
    own = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir is not None else []
    with (
        mistakes_in_one_line(),
        within_limits(),
        initialize_config_dir(config_dir=str(CONF), version_base="1.3"),
        defaults_in_hydra(),
    ):
        return to_tree(hydra_compose(config_name="config", overrides=[*map(as_typed, overrides), *own]))


def to_tree(cfg: object) -> Tree:
    """Resolve a DictConfig whole, once, so that a broken interpolation surfaces here and not hours later."""
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}
