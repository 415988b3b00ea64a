"""What share of the loss long documents have under each average: as trained, against closed formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwexp.pack.batch_schedule import BatchSchedule
from lwexp.pack.dataset import PackedDataset
from lwexp.runs.summaries import read_metrics
from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in


def shares(rows: list[dict[str, Any]]) -> list[float]:
    return [row["long_weight"] / row["weight"] for row in rows]


def by_formula(normalize: str, packs: list[list[int]], long_from: int) -> float:
    """Share of one step, from the targets of each document of each pack of the step and from nothing else.

    token: long targets / targets. sequence: long documents / documents. release: a pack of n documents weighs n,
    whatever it holds, and gives it to its targets alike: sum of n x (its long targets / its targets), over sum of n.
    """
    flat = [targets for pack in packs for targets in pack]
    is_long = [targets >= long_from for targets in flat]
    if normalize == "token":
        return sum(t for t, long in zip(flat, is_long, strict=True) if long) / sum(flat)
    if normalize == "sequence":
        return sum(is_long) / len(flat)
    of_packs = [len(pack) * sum(t for t in pack if t >= long_from) / sum(pack) for pack in packs]
    return sum(of_packs) / len(flat)


@pytest.mark.parametrize("normalize", ["token", "sequence", "release"])
def test_the_weight_of_long_documents_is_the_formulas(tmp_path: Path, normalize: str) -> None:
    config = tiny_config(
        tmp_path, f"objective.normalize={normalize}", "objective.global_batch=2", "objective.epochs=2",
        "training.log_every_steps=1",
    )  # fmt: skip
    run = train_in(config, rows=tiny_conversations())
    rows = read_metrics(run.path / "metrics.jsonl")
    dataset = PackedDataset(run.path / "packs")
    targets = np.load(run.path / "packs" / "targets.npy")
    longest_first, half, long_from = sorted(targets.tolist(), reverse=True), targets.sum() / 2, 0
    while half > 0:
        long_from = longest_first.pop(0)
        half -= long_from
    plan = BatchSchedule(dataset.num_packs, dataset.costs, config.seed, 2, 2, order=config.pack.order)
    steps = [[[int(targets[d]) for d in dataset[p].document_ids] for p in plan[step]] for step in range(len(plan))]
    expected = [by_formula(normalize, packs, long_from) for packs in steps]
    assert len(rows) == len(expected) > 3
    assert shares(rows) == pytest.approx(expected, abs=1e-6)
    others = {"token", "sequence", "release"} - {normalize}
    for other in others:  # the control: another average's formula is far off somewhere
        wrong = [by_formula(other, packs, long_from) for packs in steps]
        assert max(abs(a - b) for a, b in zip(wrong, expected, strict=True)) > 0.01
