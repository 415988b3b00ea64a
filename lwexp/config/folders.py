"""The folders that hold YAML, lwexp's own conf and those beside plugins, and what their files say."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from lwexp.config.base import Tree
from lwexp.config.fields import commands_that_read
from lwexp.config.mistakes.limits import read_yaml_text
from lwexp.config.schema import Config
from lwexp.extend.plugins import plugin_config_folders

PACKAGE = Path(__file__).resolve().parents[1]
REPOSITORY = PACKAGE.parent
CONF = PACKAGE / "conf"


def config_folders() -> list[Path]:
    """Folders with groups of choices: lwexp's own, then those of loaded plugins."""
    return [CONF, *plugin_config_folders()]


def choices_of(group: str) -> list[Path]:
    """The files of a group, those of plugins after ours."""
    return [path for folder in config_folders() for path in sorted((folder / group).glob("*.yaml"))]


def first_comment(path: Path) -> str:
    """The first comment line of a YAML file, apart from package directives."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""


def read_choice(group: str, name: str, folders: Sequence[Path] = (CONF,)) -> Tree:
    """The values of ``<group>/<name>.yaml``, merged over those of the files in its group that it builds on.

    Args:
        group: Such as hardware or experiment.
        name: Name of the file, without .yaml.
        folders: Searched in order; the first that has the file is used, as in Hydra.
    """
    merged: Tree = {}
    for tree in _chain(group, name, folders):
        merged = _merged(merged, {key: value for key, value in tree.items() if key != "defaults"})
    return merged


def choices_made_by(group: str, name: str, folders: Sequence[Path] = (CONF,)) -> dict[str, str]:
    """The choice in each group when an experiment or a sweep is used: its own, else that of config.yaml."""
    entries = [entry for tree in _chain(group, name, folders) for entry in tree.get("defaults", ())]
    root = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    chosen = [item for entry in [*root, *entries] if isinstance(entry, dict) for item in entry.items()]
    return {str(key).removeprefix("override /"): str(choice) for key, choice in chosen}


def _chain(group: str, name: str, folders: Sequence[Path]) -> list[Tree]:
    """The trees of the files that a choice builds on, then its own; empty if there is no such file."""
    path = next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)
    if path is None:
        return []
    tree = _read_yaml(path)
    return [*(part for base in bases_of(path) for part in _chain(group, base, folders)), tree]


def bases_of(path: Path) -> list[str]:
    """The choices of its group that a file builds on."""
    return [base for base in _read_yaml(path).get("defaults") or () if isinstance(base, str) and base != "_self_"]


def _read_yaml(path: Path) -> Tree:
    """The mapping in a file; an empty one if it holds something else, which Hydra refuses when it composes the file."""
    tree = yaml.safe_load(read_yaml_text(path.read_bytes(), str(path)))
    return tree if isinstance(tree, dict) and isinstance(tree.get("defaults") or [], list) else {}


def _merged(under: Tree, over: Tree) -> Tree:
    both = {key: _merged(under[key], over[key]) for key in under if isinstance(under[key], dict) and over.get(key)}
    return {**under, **over, **both}


def package_of(group: str) -> str:
    """Where a group's choices go in the config: ``generate.instructions`` for ``instructions``, else its own name."""
    for path in sorted((CONF / group).glob("*.yaml")):
        if found := re.search(r"^# @package (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    return group


def group_at(package: str) -> str | None:
    """The group whose choices go to a place in the config."""
    groups = [path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("experiment", "sweeps")]
    return next((group for group in sorted(groups) if package_of(group) == package), None)


def readers_of(top: str) -> tuple[str, ...]:
    """Commands that read a top-level key or a group of files; empty if no command reads it, such as ``hydra``."""
    return commands_that_read(Config, top) or commands_that_read(Config, package_of(top).split(".")[0])
