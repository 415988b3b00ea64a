"""W&B offline: no account, one folder inside the run, and nothing of the environment or the command line in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_packs import tiny_config, tiny_conversations, train_in

CANARY = "sk-canary-4711-do-not-leak"


def test_offline_tracking_writes_below_the_run_and_leaks_neither_argv_nor_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setattr(sys, "argv", ["train.py", "name=x"])
    config = tiny_config(tmp_path, "tracking=wandb_offline", "objective.max_steps=2")
    from lwexp.runs import open_run
    from lwexp.train import train_run

    run = open_run("train", config, default_name="tiny", inputs={})
    monkeypatch.setattr(sys, "argv", ["train.py", f"teacher.key={CANARY}"])
    with run:
        results = train_run(config, run, conversations=tiny_conversations())
        assert results is not None
        run.finish(results)
    assert (run.path / "metrics.jsonl").is_file()
    assert list((run.path / "wandb").glob("offline-run-*/*.wandb"))
    leaking = [p for p in tmp_path.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert leaking == []


def test_without_tracking_wandb_is_not_even_imported(tmp_path: Path) -> None:
    before = "wandb" in sys.modules
    train_in(tiny_config(tmp_path, "objective.max_steps=1"), conversations=tiny_conversations())
    assert ("wandb" in sys.modules) == before
    assert not list(tmp_path.glob("*/wandb"))
