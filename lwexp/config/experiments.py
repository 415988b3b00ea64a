"""What an experiment file pins: the groups it chooses, which the command line must then leave alone."""

from __future__ import annotations

from typing import Any

from lwexp.config.compose import CONF
from lwexp.records import LwexpError


def pinned_groups(name: str) -> set[str]:
    """Groups that lwexp/conf/experiment/<name>.yaml overrides, those of the experiments it builds on included."""
    import yaml

    path = CONF / "experiment" / f"{name}.yaml"
    if not path.is_file():
        return set()
    defaults: list[Any] = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", [])
    groups: set[str] = set()
    for entry in defaults:
        if isinstance(entry, str):
            if entry != "_self_":
                groups |= pinned_groups(entry)
            continue
        for key in entry:
            if not str(key).startswith("override /"):
                raise LwexpError(f"{path}: defaults may only override groups or name other experiments, got {key}")
            groups.add(str(key).removeprefix("override /"))
    return groups
