"""Curves and shares from a training run's metrics.jsonl."""

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from pydantic import ValidationError

from lwexp.runs.artifacts import METRICS
from lwexp.runs.summaries import MetricsRow, read_metrics

_MOST_POINTS = 240
Curve = list[tuple[float, float]]


def training_rows(train: Path, file: str = METRICS) -> list[MetricsRow]:
    """Rows of a run's metrics.jsonl or validation.jsonl; damaged rows are skipped."""
    rows = []
    for row in read_metrics(train / file):
        try:
            rows.append(MetricsRow.model_validate(row))
        except ValidationError:
            continue
    return rows


def curve(rows: Sequence[MetricsRow], column: str) -> Curve:
    """(step, value) wherever the column is a finite number; many points are averaged into groups of neighbours."""
    return _thinned([(row.step, getattr(row, column, None)) for row in rows])


def long_shares(rows: Sequence[MetricsRow]) -> Curve:
    """(step, cumulative share of the loss weight on long documents), thinned; single steps have too few documents.

    Empty if the run did not record it.
    """
    known = [(row.step, row.weight, row.long_weight) for row in rows if row.weight and row.long_weight is not None]
    weights = accumulate(weight for _, weight, _ in known)
    longs = accumulate(long for *_, long in known)
    return _thinned([(step, long / weight) for (step, *_), long, weight in zip(known, longs, weights, strict=True)])


def long_share(train: Path) -> float | None:
    """Share of a run's loss weight on long documents, over the steps it logged; None if it recorded none."""
    known = [
        (row.weight, row.long_weight) for row in training_rows(train) if row.weight and row.long_weight is not None
    ]
    return sum(long for _, long in known) / sum(weight for weight, _ in known) if known else None


def _thinned(points: Sequence[tuple[int, object]]) -> Curve:
    finite = [(float(x), float(y)) for x, y in points if isinstance(y, int | float) and math.isfinite(y)]
    width = -(-len(finite) // _MOST_POINTS) or 1
    groups = [finite[start : start + width] for start in range(0, len(finite), width)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
