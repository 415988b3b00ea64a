"""The first line of the results: the machine, and how its versions differ from the pinned ones."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.gpu.place import Place
from lwexp.train.model.attention_paths import has_varlen, varlen_parameters

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "pydantic",
    "lightning",
    "deepspeed",
    "triton",
    "liger-kernel",
    "trl",
)


COMMIT = Path(__file__).resolve().parents[2] / "COMMIT"
"""File with the commit, written by the kit, because its copy of the repository has no git history."""


def describe_machine(place: Place) -> dict[str, Any]:
    """Device, versions and notes."""
    notes = [] if place.is_cuda else ["CPU self-check, says nothing of a GPU"]
    if repeats_keys():
        notes.append(
            "torch before 2.12: its varlen attention has no grouped queries, so varlen and hybrid run on repeated keys "
            "and values and are slower than the paths that the pinned torch runs"
        )
    return {
        "bench": "gpu",
        "device": place.name,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "commit": COMMIT.read_text(encoding="utf-8").strip() if COMMIT.is_file() else "unknown",
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "notes": notes,
    }


def repeats_keys() -> bool:
    """Whether varlen attention copies keys and values for grouped queries with this version of torch."""
    return has_varlen() and "enable_gqa" not in varlen_parameters()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
