"""Compose a config without Hydra's command line: for tests, notebooks and other rooms."""

from __future__ import annotations

import re
from pathlib import Path

from lwexp.config.base import Tree, validate
from lwexp.config.schema import Config
from lwexp.extend import load_plugins

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
CONF = PACKAGE / "conf"


def compose(*overrides: str) -> Config:
    """Compose lwexp/conf/config.yaml with command-line style overrides and pass it through the gate.

    Example:
        ``compose("experiment=miniature", "seed=1").model.name``
    """
    tree = compose_tree(*overrides)
    load_plugins(tree["plugins"])
    return validate(tree, Config)


def package_of(group: str) -> str:
    """Where a group's choices go in the config: ``generate.instructions`` for ``instructions``, else its own name."""
    for path in sorted((CONF / group).glob("*.yaml")):
        if found := re.search(r"^# @package (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    return group


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
