"""A run's identity: the hash of what can change its results, and of nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lwexp.config.base import Tree
from lwexp.config.fields import sections_of, written
from lwexp.config.schema import Config
from lwexp.extend import Strict
from lwexp.extend.settings import key_of


def identity_tree(stage: str, config: Config, *, choices: bool = True) -> Tree:
    """The part of a config that shapes the results of ``stage``.

    Args:
        stage: The kind of run.
        config: The whole config.
        choices: Whether to include keys that only choose among samples (``Key.affects`` is choice).
    """
    ignored = ("speed", "label") if choices else ("speed", "label", "choice")
    return {name: part for name, part in _shaping(config, ignored).items() if name in sections_of(Config, stage)}


def _shaping(value: Any, ignored: tuple[str, ...]) -> Any:
    """``value`` as JSON, without keys that cannot change a result or have no effect at their value."""
    if isinstance(value, Strict):
        tree = {}
        for name, field in type(value).model_fields.items():
            key, own = key_of(field), getattr(value, name)
            if key.affects in ignored or (key.has_neutral and own == key.neutral):
                continue
            tree[key.formerly or name] = written(field, _shaping(own, ignored))
        return tree
    if isinstance(value, dict):
        return {name: _shaping(item, ignored) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shaping(item, ignored) for item in value]
    return value


def run_id(stage: str, config: Config, inputs: Mapping[str, str]) -> str:
    """Eight hex digits over the stage, its shaping config and the fingerprints of its inputs."""
    content = {"stage": stage, "config": identity_tree(stage, config), "inputs": dict(inputs)}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def fingerprint(path: Path) -> str:
    """sha256 of a file, or of a folder's relative names and files, as 64 hex digits."""
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        if path.is_dir():
            digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as content:
            while chunk := content.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
