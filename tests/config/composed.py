"""Every composition that lwexp ships, by name: experiments, choices of groups, trials and preparations of sweeps."""

import itertools
import json
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from lwexp.config import compose
from lwexp.config.folders import CONF

Flat = dict[str, Any]
"""Dotted key -> value."""

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "sweeps")
SWEEPS = sorted(str(path.relative_to(CONF / "sweeps"))[:-5] for path in (CONF / "sweeps").rglob("*.yaml"))


def compositions() -> dict[str, list[str]]:
    """Name -> overrides. A sweep's trials are numbered, so that a renamed key keeps the name."""
    found = {
        f"{group}={path.stem}": [f"{group}={path.stem}"]
        for group in GROUPS
        for path in sorted((CONF / group).glob("*.yaml"))
    }
    for sweep in SWEEPS:
        launcher, params = of_sweeps_file(sweep)
        trials = launcher.get("trials") or [""]
        grid = itertools.product(*([f"{key}={value}" for value in values.split(",")] for key, values in params.items()))
        for number, (trial, point) in enumerate(itertools.product(trials, grid)):
            found[f"sweeps={sweep} trial {number}"] = [f"+sweeps={sweep}", *trial.split(), *point]
        for number, command in enumerate(launcher.get("setup_commands", [])):
            found[f"sweeps={sweep} prepare {number}"] = shlex.split(command.replace("{root}", "runs/x"))[1:]
    return found


def of_sweeps_file(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Launcher and params of a sweep as its file has them: all are read while tests are collected, in each worker."""
    tree: Any = OmegaConf.to_container(OmegaConf.load(CONF / "sweeps" / f"{name}.yaml"))
    hydra = tree["hydra"]
    return hydra.get("launcher", {}), hydra.get("sweeper", {}).get("params", {})


def of_sweep(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Launcher and params of a sweep as Hydra composes them."""
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        config = hydra_compose(config_name="config", overrides=[f"+sweeps={name}"], return_hydra_config=True)
    launcher = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    assert isinstance(launcher, dict)
    return {str(key): value for key, value in launcher.items()}, dict(config.hydra.sweeper.params or {})


@cache
def flat(*overrides: str) -> Flat:
    """A composed and validated config, a line for each value."""
    return flattened(compose(*overrides).model_dump(mode="json"))


def _leaves(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def nested(flat: Flat) -> dict[str, Any]:
    """The tree of a flat config."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *above, last = key.split(".")
        node = tree
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def flattened(tree: dict[str, Any]) -> Flat:
    """A line for each value of a tree."""
    return dict(_leaves(tree, ""))


def difference(base: Flat, other: Flat) -> Flat:
    """What turns ``base`` into ``other``: values that differ, and under ``-`` the keys that are gone."""
    changed = {key: value for key, value in other.items() if key not in base or not _same(base[key], value)}
    gone = [key for key in base if key not in other]
    return {**changed, **({"-": gone} if gone else {})}


def _same(one: Any, other: Any) -> bool:
    """Equal and of the same type: 1, 1.0 and true are three values."""
    return json.dumps(one) == json.dumps(other)


def applied(base: Flat, change: Flat) -> Flat:
    """The inverse of ``difference``."""
    gone = change.get("-", [])
    return {key: value for key, value in {**base, **change}.items() if key != "-" and key not in gone}
