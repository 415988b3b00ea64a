"""``model=``, ``bench=`` and other choices of files beside ``experiment=``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lwexp.config.base import Tree
from lwexp.config.folders import CONF, choices_made_by, package_of, read_choice
from lwexp.records import LwexpError

_MOST_NAMED = 6


def refuse_half_undone(overrides: Sequence[str], choices: Mapping[str, str], folders: Sequence[Path]) -> None:
    """Refuse a choice in a group whose values an experiment or a sweep sets.

    Hydra would apply values meant for one choice to another one: an SFT learning rate to DPO. ``hardware``
    is free, because what a run is computed on is not part of an experiment.

    Args:
        overrides: As typed.
        choices: The choice in each group, as composed.
        folders: Folders that may hold choices, such as the user's own.

    Raises:
        LwexpError: Naming the values.
    """
    chosen = dict(item.lstrip("+").split("=", 1) for item in overrides if "=" in item)
    for source in ("experiment", "sweeps"):
        name = choices.get(source)
        if name in (None, "null"):
            continue
        tree, own = read_choice(source, name, folders), choices_made_by(source, name, folders)
        for group, choice in chosen.items():
            if group not in choices or group in ("hardware", "experiment", "sweeps") or choice == own.get(group):
                continue
            if values := _values_below(tree, package_of(group)):
                raise LwexpError(_message(f"{group}={choice}", f"{source}={name}", f"{group}={own[group]}", values))


def _values_below(tree: Tree, package: str) -> list[str]:
    """Dotted keys that a tree sets below a package."""
    node: object = tree
    for part in package.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return [f"{package}.{key}" for key in _leaves(node)] if isinstance(node, dict) else []


def _leaves(tree: Tree) -> list[str]:
    return [
        f"{key}.{below}" if below else key
        for key, value in tree.items()
        for below in (_leaves(value) if isinstance(value, dict) and value else [""])
    ]


def _message(typed: str, source: str, own: str, values: list[str]) -> str:
    more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
    return (
        f"{typed}: {source} sets {', '.join(values[:_MOST_NAMED])}{more} for {own}; leave out {source}, or write an "
        f"experiment of your own for {typed} (docs/training.md)"
    )


def folders_of(sources: Sequence[Any]) -> list[Path]:
    """The folders among Hydra's ``runtime.config_sources``; lwexp's own if there are none."""
    return [Path(source.path) for source in sources if source.schema == "file"] or [CONF]
