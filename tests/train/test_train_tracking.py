"""W&B offline: no account, one folder inside the run, and nothing of the environment or the command line in it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lwexp.runs import Run
from lwexp.runs.artifacts import Manifest, Parent
from lwexp.train.metrics.tracking import WandbTracker
from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in

CANARY = "sk-canary-4711-do-not-leak"


def test_offline_tracking_writes_below_the_run_and_leaks_neither_argv_nor_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setattr(sys, "argv", ["train.py", "name=x"])
    config = tiny_config(tmp_path, "tracking=wandb_offline", "objective.max_steps=2")
    from lwexp.runs import open_run
    from lwexp.train.loop.run import train_run

    run = open_run("train", config, default_name="tiny", inputs={})
    monkeypatch.setattr(sys, "argv", ["train.py", f"teacher.key={CANARY}"])
    with run:
        results = train_run(config, run, rows=tiny_conversations())
        assert results is not None
        run.finish(results)
    assert (run.path / "metrics.jsonl").is_file()
    [record] = (run.path / "wandb").glob("offline-run-*/*.wandb")
    assert f"{(run.path / 'model').resolve().as_uri()}/model.safetensors".encode() in record.read_bytes()
    leaking = [p for p in tmp_path.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert leaking == []


def test_inputs_and_the_model_are_artifacts_by_reference_and_a_refusal_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is a stand-in, because W&B takes inputs only with a server; the artifacts are the library's own."""
    import wandb

    for file in ("sft-1/model/w.safetensors", "pairs-1/pairs.jsonl"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("x")
    taken: list[Any] = []

    def refuse(_: object) -> None:
        raise wandb.errors.CommError("no room\nsecond line")

    stand_in = SimpleNamespace(use_artifact=taken.append, log_artifact=refuse)
    monkeypatch.setattr(wandb, "init", lambda **_: stand_in)
    parents = [Parent(id=name, path=str(tmp_path / name)) for name in ("pairs-1", "sft-1", "gone-1")]
    config = tiny_config(tmp_path, "tracking=wandb")
    tracker = WandbTracker(config.tracking, config, Run(tmp_path / "dpo-1", Manifest(id="dpo-1", parents=parents)))
    found = [(item.name, item.type, [e.ref for e in item.manifest.entries.values()]) for item in taken]
    at = tmp_path.resolve().as_uri()
    assert found == [
        ("pairs-1", "dataset", [f"{at}/pairs-1/pairs.jsonl"]),
        ("sft-1", "model", [f"{at}/sft-1/model/w.safetensors"]),
    ]
    assert "did not take an input as an artifact (gone-1)" in caplog.text
    tracker.keep_model(tmp_path / "sft-1" / "model")
    assert "did not take the model as an artifact (dpo-1): no room" in caplog.text


def test_without_tracking_wandb_is_not_even_imported(tmp_path: Path) -> None:
    before = "wandb" in sys.modules
    train_in(tiny_config(tmp_path, "objective.max_steps=1"), rows=tiny_conversations())
    assert ("wandb" in sys.modules) == before
    assert not list(tmp_path.glob("*/wandb"))
