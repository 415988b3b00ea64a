"""A run's identity: the hash of what can change its results, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lwexp.config.base import Tree
from lwexp.config.schema import Config

# Sections that shape the results of each stage. What is missing here cannot change them.
SHAPES: dict[str, tuple[str, ...]] = {
    "data": ("task", "seed", "teacher", "generate"),
    "select": ("task", "seed", "split", "teacher", "select"),
    "import": ("task", "seed", "split", "on_bad_row", "filter"),
    "pairs": ("seed", "pairs", "judge", "engine", "sample"),
    "train": ("seed", "model", "objective", "mixture", "pack", "hardware", "training"),
    "evaluate": ("seed", "bench", "judge", "engine", "sample", "score"),
}

# Knobs inside those sections that change speed or comfort, never a result.
IRRELEVANT = {
    "teacher.limits", "judge.limits", "hardware.threads", "hardware.device_gib", "sample.batch_size",
    # A step's packs and its loss do not depend on who computes them: a run may go on with other ranks.
    "hardware.stage", "hardware.devices", "hardware.num_nodes", "hardware.activation_checkpointing",
    "hardware.offload_optimizer", "hardware.offload_parameters", "hardware.timeout_minutes",
    "engine.limits",
    "training.log_every_steps", "training.checkpoint_every_steps", "training.keep_checkpoints",
    "training.skip_nonfinite", "training.probe", "training.validation.every_steps",
    "hardware.pin_memory", "hardware.host_gib", "hardware.peak_tflops", "hardware.mfu",
}  # fmt: skip


def identity_tree(stage: str, config: Config) -> Tree:
    """The part of a config that shapes the results of ``stage``."""
    tree = config.model_dump(mode="json")
    return {section: _pruned(tree[section], section) for section in SHAPES[stage]}


def _pruned(value: Any, key: str) -> Any:
    """``value`` less everything under it that is irrelevant."""
    if not isinstance(value, dict):
        return value
    kept = {name: item for name, item in value.items() if f"{key}.{name}" not in IRRELEVANT}
    return {name: _pruned(item, f"{key}.{name}") for name, item in kept.items()}


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
