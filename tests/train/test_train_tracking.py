"""W&B offline: no account, one folder inside the run, and nothing of the environment or the command line in it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lwexp.records import Preempted
from lwexp.runs import Run
from lwexp.runs.artifacts import Manifest, Parent
from lwexp.train.metrics.tracking import GuardedTracker, Tracker
from lwexp.train.metrics.wandb_tracker import WandbTracker
from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in
from tests.train.wandb_records import records

CANARY = "sk-canary-4711-do-not-leak"
LOOKUP = socket.getaddrinfo


def test_offline_tracking_writes_below_the_run_and_leaks_neither_argv_nor_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setattr(sys, "argv", ["train.py", "name=x"])
    asked: list[object] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            asked.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)

    def looked_up(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return LOOKUP(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    for name in ("WANDB_MODE", "WANDB_ERROR_REPORTING"):  # what the tracker sets is taken back after the test
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
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
    saved = str([record.artifact for record in records(run.path)])
    assert f"{(run.path / 'model').resolve().as_uri()}/model.safetensors" in saved
    leaking = [p for p in tmp_path.rglob("*") if p.is_file() and CANARY.encode() in p.read_bytes()]
    assert leaking == []
    assert [host for host in asked if host not in (None, "127.0.0.1", "localhost", "::1")] == []


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of the repository that the test stands in, whose remote has a token in its address."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (
        ("init", "-q"), (*identity, "commit", "-q", "--allow-empty", "-m", "first"),
        ("remote", "add", "origin", f"https://{CANARY}:x@example.com/mine.git"), ("rev-parse", "HEAD"),
    ):  # fmt: skip
        done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize("off", [(), ("git",), ("console",), ("system_metrics",), ("git", "console", "system_metrics")])
def test_git_console_and_system_metrics_are_recorded_unless_their_key_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str, off: tuple[str, ...]
) -> None:
    """Each key is the negative control of the others."""
    monkeypatch.setenv("WANDB_X_STATS_SAMPLING_INTERVAL", "0.2")
    monkeypatch.setattr(sys, "argv", ["train.py", f"teacher.key={CANARY}"])
    config = tiny_config(tmp_path, "tracking=wandb_offline", *(f"tracking.{key}=false" for key in off))
    (tmp_path / "run").mkdir()
    tracker = WandbTracker(config.tracking, config, Run(tmp_path / "run", Manifest(id="run-1")))
    print("said aloud")
    tracker.log({"step": 1, "train/loss": 0.5})
    time.sleep(1)
    tracker.finish()
    found = records(tmp_path / "run")
    said = "".join(record.output_raw.line for record in found)
    samples = [item.key for record in found for item in record.stats.item]
    assert {record.run.git.commit for record in found if record.HasField("run")} == {"" if "git" in off else commit}
    assert ("said aloud" in said) == ("console" not in off)
    assert any(key.startswith("memory") for key in samples) == ("system_metrics" not in off)
    assert CANARY not in str(found)


@pytest.mark.parametrize(("error", "code"), [(None, 0), (Preempted("saved"), 143), (ValueError("no"), 1)])
def test_a_trial_is_grouped_by_its_sweep_and_ends_as_its_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None, code: int
) -> None:
    """W&B counts a run with exit code 0 as finished, which a preempted run is not."""
    monkeypatch.setenv("LWEXP_TRIAL_RECORD", "runs/sweep-lr-1a2b3c4d/trial-0.runs")
    config = tiny_config(tmp_path, "tracking=wandb_offline")
    (tmp_path / "run").mkdir()
    tracker = GuardedTracker(WandbTracker(config.tracking, config, Run(tmp_path / "run", Manifest(id="run-1"))))
    tracker.finish(error)
    found = records(tmp_path / "run")
    (run, *_) = [record.run for record in found if record.HasField("run")]
    assert (run.run_group, run.job_type) == ("sweep-lr-1a2b3c4d", "sft")
    assert found[-1].exit.exit_code == code
    assert any(record.HasField("preempting") for record in found) == isinstance(error, Preempted)


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


def test_a_tracker_that_fails_is_dropped_with_one_warning_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is the one of W&B's client after a preemption has ended its background process."""
    calls: list[str] = []

    class Lost(Tracker):
        def log(self, row: object) -> None:
            calls.append("log")
            raise ConnectionResetError("Connection lost")

        def finish(self, error: BaseException | None = None) -> None:
            calls.append("finish")

    tracker = GuardedTracker(Lost())
    tracker.log({"step": 1})
    tracker.log({"step": 2})
    tracker.keep_model(tmp_path)
    tracker.finish()
    assert calls == ["log"]
    (said,) = caplog.messages
    assert said.startswith("tracking has failed (ConnectionResetError: Connection lost); training goes on")


def test_a_stop_signal_passes_through_the_guard() -> None:
    """Negative control: what stops a run is not an error of its tracker."""

    class Stopped(Tracker):
        def log(self, row: object) -> None:
            raise Preempted("SIGTERM")

    with pytest.raises(Preempted):
        GuardedTracker(Stopped()).log({"step": 1})


def test_without_tracking_wandb_is_not_even_imported(tmp_path: Path) -> None:
    before = "wandb" in sys.modules
    train_in(tiny_config(tmp_path, "objective.max_steps=1"), rows=tiny_conversations())
    assert ("wandb" in sys.modules) == before
    assert not list(tmp_path.glob("*/wandb"))
