"""A loss or gradient that is not finite never reaches the weights, and is recorded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.records import LwexpError
from lwexp.runs.summaries import read_metrics
from lwexp.train.loop import module as module_file
from tests.train.tiny_packs import poisoned_logprobs, tiny_config, tiny_conversations, train_in

STEPS = ("objective.max_steps=5", "objective.optimizer.lr=0.01", "training.checkpoint_every_steps=1")


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the log-probs of chosen calls not finite, forwards or backwards."""
    return lambda calls, what: monkeypatch.setattr(module_file, "pack_logprobs", poisoned_logprobs(calls, what))


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_it_stops_before_the_update_with_the_packs_on_record(what: str, step: int, poison: Any, tmp_path: Path) -> None:
    """Two packs a step: call 2k-1 is the first pack of step k."""
    poison({2 * step - 1}, what)
    with pytest.raises(LwexpError, match=rf"step {step}: {what} is .* on packs \[\d+, \d+\].*skip_nonfinite=1"):
        train_in(tiny_config(tmp_path, *STEPS), rows=tiny_conversations())
    (run,) = tmp_path.iterdir()
    (row,) = [json.loads(line) for line in (run / "nonfinite.jsonl").read_text().splitlines()]
    assert (row["step"], row["what"], len(row["packs"])) == (step, what, 2)
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == list(range(1, step))
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    saved = sorted((run / "checkpoints").glob("step-*")) if step > 1 else []
    for checkpoint in saved:
        weights = torch.load(checkpoint / "state.ckpt", weights_only=True)["state_dict"]
        assert all(tensor.isfinite().all() for tensor in weights.values())


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_a_counted_few_are_passed_over_and_leave_the_weights_alone(what: str, poison: Any, tmp_path: Path) -> None:
    poison({3}, what)
    run = train_in(tiny_config(tmp_path, *STEPS, "training.skip_nonfinite=1"), rows=tiny_conversations())
    rows = read_metrics(run.path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[1]["grad_norm"] is None
    assert all(math.isfinite(row["grad_norm"]) for row in rows if row["step"] != 2)
    assert "step 2 skipped" in (run.path / "log.txt").read_text()
    assert "NaN" not in (run.path / "metrics.jsonl").read_text()


def test_more_than_allowed_stops_and_a_resumed_run_remembers_the_count(poison: Any, tmp_path: Path) -> None:
    poison({3, 7}, "loss")
    config = tiny_config(tmp_path, *STEPS, "training.skip_nonfinite=1")
    with pytest.raises(LwexpError, match=r"step 4: .*1 before it were skipped"):
        train_in(config, rows=tiny_conversations())
    poison({1}, "loss")  # the resumed run starts with step 4
    with pytest.raises(LwexpError, match=r"step 4: .*1 before it were skipped"):
        train_in(config, rows=tiny_conversations())


def test_negative_control_an_unpoisoned_run_leaves_no_record(tmp_path: Path) -> None:
    run = train_in(tiny_config(tmp_path, *STEPS), rows=tiny_conversations())
    assert not (run.path / "nonfinite.jsonl").exists()
