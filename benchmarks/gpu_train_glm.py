"""Training steps at the widths of glm4; see gpu_train."""

from __future__ import annotations

from benchmarks.gpu_place import Place
from benchmarks.gpu_train import run_family
from benchmarks.output import Results


def run(place: Place) -> Results:
    """Both kinds of packs."""
    return run_family(place, "glm4")
