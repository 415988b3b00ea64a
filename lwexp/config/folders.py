"""The folders that hold YAML, lwexp's own conf and those beside plugins, and what their files say."""

import re
from pathlib import Path
from typing import Any

from lwexp.config.base import Tree
from lwexp.config.fields import commands_that_read
from lwexp.config.schema import Config
from lwexp.extend.plugins import plugin_config_folders
from lwexp.records import LwexpError

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
CONF = PACKAGE / "conf"


def config_folders() -> list[Path]:
    """Folders whose groups may be chosen from: lwexp's own, then those of loaded plugins."""
    return [CONF, *plugin_config_folders()]


def choices_of(group: str) -> list[Path]:
    """The files of a group, those of plugins after ours."""
    return [path for folder in config_folders() for path in sorted((folder / group).glob("*.yaml"))]


def first_comment(path: Path) -> str:
    """The first comment line of a YAML file that says something (package directives do not)."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""


def read_choice(group: str, name: str) -> Tree:
    """The values of ``<group>/<name>.yaml`` in lwexp's conf, on those of the choices that it builds on."""
    import yaml

    tree: Tree = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    bases = [read_choice(group, base) for base in tree.pop("defaults", ())]
    merged: Tree = {}
    for part in [*bases, tree]:
        merged = _merged(merged, part)
    return merged


def _merged(under: Tree, over: Tree) -> Tree:
    both = {key: _merged(under[key], over[key]) for key in under if isinstance(under[key], dict) and key in over}
    return {**under, **over, **both}


def package_of(group: str) -> str:
    """Where a group's choices go in the config: ``generate.instructions`` for ``instructions``, else its own name."""
    for path in sorted((CONF / group).glob("*.yaml")):
        if found := re.search(r"^# @package (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    return group


def readers_of(top: str) -> tuple[str, ...]:
    """Commands that read a top-level key or a group of files; empty for neither, such as ``hydra``."""
    return commands_that_read(Config, top) or commands_that_read(Config, package_of(top).split(".")[0])


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
