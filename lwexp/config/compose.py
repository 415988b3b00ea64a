"""Compose a config without Hydra's command line: for tests, notebooks and other rooms."""

from __future__ import annotations

from pathlib import Path

from lwexp.config.base import Tree, validate
from lwexp.config.schema import Config

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
CONF = PACKAGE / "conf"


def compose(*overrides: str) -> Config:
    """Compose lwexp/conf/config.yaml with command-line style overrides and pass it through the gate.

    Example:
        ``compose("experiment=miniature", "seed=1").model.name``
    """
    return validate(compose_tree(*overrides), Config)


def compose_tree(*overrides: str) -> Tree:
    """The composed and resolved tree, before the gate."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return to_tree(hydra_compose(config_name="config", overrides=list(overrides)))


def to_tree(cfg: object) -> Tree:
    """Resolve a DictConfig whole, once, so that a broken interpolation surfaces here and not hours later."""
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}
