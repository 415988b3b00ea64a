"""TensorBoard: the event files, read by TensorBoard's own reader, hold what metrics.jsonl holds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from lwexp.config.train import TensorboardTracking
from lwexp.records import LwexpError, Preempted
from lwexp.runs.summaries import read_metrics
from lwexp.train.metrics.tensorboard_tracker import TensorboardTracker
from lwexp.train.metrics.tracking import tracking_problem
from lwexp.train.planner.readiness import preflight
from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in

TRACKED = ("tracking=tensorboard", "objective.max_steps=6", "training.checkpoint_every_steps=2")


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Name -> (step, value), as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return {name: [(event.step, event.value) for event in reader.Scalars(name)] for name in reader.Tags()["scalars"]}


def rows_by_column(path: Path) -> dict[str, Any]:
    """The same, from a file of lwexp. Events hold float32."""
    rows = read_metrics(path)
    names = dict.fromkeys(name for row in rows for name in row if name != "step")
    return {
        name: [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if row[name] is not None]
        for name in names
    }


def test_a_run_has_the_rows_of_its_metrics_under_their_names(tmp_path: Path) -> None:
    held = ("training.validation.share=0.3", "training.validation.max_documents=4", "training.validation.every_steps=3")
    run = train_in(tiny_config(tmp_path, *TRACKED, *held), rows=tiny_conversations())
    train, validation = rows_by_column(run.path / "metrics.jsonl"), rows_by_column(run.path / "validation.jsonl")
    assert len(train["loss"]) == 6
    assert [step for step, _ in validation["loss"]] == [3, 6]
    wanted = {f"train/{name}": values for name, values in train.items() if values}  # this machine has no MFU
    assert curves(run.path) == wanted | {f"validation/{name}": values for name, values in validation.items()}


def test_a_resumed_run_repeats_no_step_of_its_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 5 is done, step 4 is saved, and the run dies: step 5 is done twice and must show once."""
    from lwexp.train.loop import callbacks

    config = tiny_config(tmp_path, *TRACKED)
    write, dies = callbacks.Metrics._write, [True]

    def write_and_die(self: Any, result: Any) -> None:
        write(self, result)
        if result.step == 5 and dies:
            dies.clear()
            raise Preempted("killed")

    monkeypatch.setattr(callbacks.Metrics, "_write", write_and_die)
    with pytest.raises(Preempted):
        train_in(config, rows=tiny_conversations())
    [folder] = (path.parent for path in tmp_path.glob("*/tensorboard"))
    assert [step for step, _ in curves(folder)["train/loss"]] == [1, 2, 3, 4, 5]

    run = train_in(config, rows=tiny_conversations())
    assert run.path == folder
    assert len(list((folder / "tensorboard").iterdir())) == 2
    seen, written = curves(folder), rows_by_column(folder / "metrics.jsonl")
    assert [step for step, _ in seen["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert {name: seen[f"train/{name}"] for name in ("loss", "lr", "seconds")} == {
        name: written[name] for name in ("loss", "lr", "seconds")
    }


def test_rows_are_on_disk_before_the_next_step(tmp_path: Path) -> None:
    tracker = TensorboardTracker(tmp_path, done=0)
    tracker.log({"step": 3, "train/loss": 0.5, "train/mfu_packed": None})
    assert curves(tmp_path) == {"train/loss": [(3, 0.5)]}  # not finished yet
    tracker.finish()


def test_a_missing_package_is_named_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_problem(TensorboardTracking(kind="tensorboard")) is None  # negative control: it is here
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(LwexpError) as caught:
        preflight(tiny_config(tmp_path, "tracking=tensorboard"))
    assert str(caught.value).endswith(
        "tracking=tensorboard needs tensorboard; pip install 'lwexp[tensorboard]', or choose tracking=none"
    )
    assert "\n" not in str(caught.value)


def test_without_tracking_tensorboard_is_not_even_imported(tmp_path: Path) -> None:
    before = "tensorboard" in sys.modules
    train_in(tiny_config(tmp_path, "objective.max_steps=1"), rows=tiny_conversations())
    assert ("tensorboard" in sys.modules) == before
    assert not list(tmp_path.glob("*/tensorboard"))
