"""Curves and shares from a training run's metrics.jsonl."""

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from lwexp.runs.artifacts import METRICS
from lwexp.runs.summaries import read_metrics

_MOST_POINTS = 240
Curve = list[tuple[float, float]]


def curve(rows: Sequence[dict[str, Any]], key: str) -> Curve:
    """(step, value) where both are finite numbers, thinned to neighbours' means where there are many."""
    finite = [
        (float(row["step"]), float(row[key])) for row in rows if is_number(row.get("step")) and is_number(row.get(key))
    ]
    width = -(-len(finite) // _MOST_POINTS) or 1
    groups = [finite[start : start + width] for start in range(0, len(finite), width)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def long_shares(rows: Sequence[dict[str, Any]]) -> Curve:
    """(step, share of the loss weight on long documents up to it), thinned; single steps hold too few documents.

    No points where a run did not record it.
    """
    known = _weighed(rows)
    weights = accumulate(row["weight"] for row in known)
    longs = accumulate(row["long_weight"] for row in known)
    shares = zip(known, longs, weights, strict=True)
    return curve([{"step": row.get("step"), "share": long / all_} for row, long, all_ in shares if all_], "share")


def long_share(train: Path) -> float | None:
    """Share of a run's loss weight on long documents, over the steps it logged; None where it recorded none."""
    rows = _weighed(read_metrics(train / METRICS))
    total = sum(row["weight"] for row in rows)
    return sum(row["long_weight"] for row in rows) / total if total else None


def _weighed(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if is_number(row.get("weight")) and is_number(row.get("long_weight"))]


def is_number(value: Any) -> bool:
    """A finite number, as a metric is where it is known."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
