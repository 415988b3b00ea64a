"""A run that was killed ends as if it had not been: the same loss curve, bit for bit."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.runs.summaries import read_metrics
from lwexp.train.metrics.rowfile import cut_metrics
from tests import ROOT, forked
from tests.train.tiny_packs import tiny_config, tiny_conversations, tiny_pairs, train_in

pytestmark = pytest.mark.slow

OVERRIDES = ("objective.epochs=50", "training.checkpoint_every_steps=10", "objective.optimizer.lr=0.01")

# The child signals itself from a second thread: the signal is as real as one from outside, and cannot come too late
# because this process had no processor to notice the step.
CHILD = """
import os, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from lwexp.records import Preempted
from lwexp.runs.summaries import read_metrics
from tests.train.tiny_packs import tiny_config, tiny_conversations, train_in

def stop_after(root, steps, signal):
    while True:
        found = list(Path(root).glob("*/metrics.jsonl"))
        if found and len(read_metrics(found[0])) >= steps:
            os.kill(os.getpid(), signal)
            return
        time.sleep(0.001)

threading.Thread(target=stop_after, args=(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])), daemon=True).start()
try:
    train_in(tiny_config(sys.argv[2], *sys.argv[5:]), rows=tiny_conversations())
except Preempted:
    sys.exit(143)
"""


def curve(run: Path) -> list[tuple[float, ...]]:
    """What must not change; rates and times may."""
    return [
        (row["step"], row["loss"], row["lr"], row["grad_norm"], row["target_tokens"])
        for row in read_metrics(run / "metrics.jsonl")
    ]


def weights(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run / "model" / "model.safetensors")


def stop_child(root: Path, after_step: int, how: signal.Signals) -> tuple[Path, int]:
    """Start the run in a process of its own, which gets a signal once it has done some steps."""
    command = [sys.executable, "-c", CHILD, str(ROOT), str(root), str(after_step), str(int(how)), *OVERRIDES]
    done = forked.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    (run,) = root.iterdir()
    return run, done.returncode


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("undisturbed")
    return Path(train_in(tiny_config(root, *OVERRIDES), rows=tiny_conversations()).path)


def assert_same(run: Path, wanted: Path) -> None:
    assert curve(run) == curve(wanted)
    ours, theirs = weights(run), weights(wanted)
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


def test_kill_9_and_the_same_command_again_give_the_same_curve(
    tmp_path: Path, undisturbed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, code = stop_child(tmp_path, 23, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert (run / "checkpoints").is_dir()
    assert not (run / "model").exists()
    with caplog.at_level(logging.INFO, "lwexp"):
        train_in(tiny_config(tmp_path, *OVERRIDES), rows=tiny_conversations())
    assert re.search(r"training tiny_glm: [2-9]0 of \d+ steps done", (run / "log.txt").read_text())
    assert_same(run, undisturbed)


def test_sigterm_saves_at_the_next_step_and_resumes(tmp_path: Path, undisturbed: Path) -> None:
    run, code = stop_child(tmp_path, 13, signal.SIGTERM)
    assert code == 143
    assert json.loads((run / "manifest.json").read_text())["status"] == "preempted"
    saved = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert int(saved[-1].removeprefix("step-")) == len(curve(run))  # the step it was in, not the last multiple of 10
    train_in(tiny_config(tmp_path, *OVERRIDES), rows=tiny_conversations())
    assert_same(run, undisturbed)


class StopError(Exception):
    """Stands in for a crash right after a checkpoint."""


def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from lwexp.train.loop import callbacks, checkpoints

    save = checkpoints.save_checkpoint

    def save_and_crash(folder: Path, at: int, *rest: Any) -> None:
        save(folder, at, *rest)
        if at == step:
            raise StopError

    monkeypatch.setattr(callbacks, "save_checkpoint", save_and_crash)


@pytest.mark.parametrize("step", [1, 4, 5])
def test_dpo_resumes_exactly_at_the_first_a_middle_and_the_last_step(
    step: int, tmp_path: Path, sft_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 steps. After the last one nothing is left to train, but the weights must be there to export."""
    options = ("objective=dpo", "objective.max_steps=5", "training.checkpoint_every_steps=1")
    inputs = {"rows": tiny_pairs(), "start_from": sft_run.path / "model"}
    whole = train_in(tiny_config(tmp_path / "whole", *options), **inputs).path
    crash_at(step, monkeypatch)
    with pytest.raises(StopError):
        train_in(tiny_config(tmp_path / "cut", *options), **inputs)
    monkeypatch.undo()
    assert_same(train_in(tiny_config(tmp_path / "cut", *options), **inputs).path, whole)


@pytest.mark.parametrize(
    "options",
    [("model.adapter=lora", "model.lora.dropout=0.2"), ("hardware=cpu", "hardware.precision=bf16-true")],
    ids=str,
)
def test_adapters_and_bf16_weights_resume_exactly(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout draws the same numbers again, and the float32 copies of bf16 weights are not rounded on the way."""
    from safetensors.torch import load_file

    more = (*options, "objective.max_steps=4", "training.checkpoint_every_steps=1", "objective.optimizer.lr=0.01")
    whole = train_in(tiny_config(tmp_path / "whole", *more), rows=tiny_conversations()).path
    crash_at(2, monkeypatch)
    with pytest.raises(StopError):
        train_in(tiny_config(tmp_path / "cut", *more), rows=tiny_conversations())
    monkeypatch.undo()
    resumed = train_in(tiny_config(tmp_path / "cut", *more), rows=tiny_conversations()).path
    assert_same(resumed, whole)
    assert {tensor.dtype for tensor in weights(whole).values()} == {
        torch.bfloat16 if "bf16" in more[1] else torch.float32
    }
    if "lora" in more[0]:
        ours, theirs = (load_file(run / "adapter" / "adapter_model.safetensors") for run in (resumed, whole))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
        assert any(tensor.abs().max() > 0 for name, tensor in theirs.items() if "lora_B" in name)


@pytest.mark.parametrize("batch", [1, 3])
def test_sft_resumes_exactly_wherever_it_stops(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pack a step and accumulation of three; the first step, an epoch's edge and the step after it, the last."""
    options = (
        f"objective.global_batch={batch}", "objective.max_steps=12", "training.checkpoint_every_steps=1",
        "objective.optimizer.lr=0.01",
    )  # fmt: skip
    whole = train_in(tiny_config(tmp_path / "whole", *options), rows=tiny_conversations()).path
    packs = json.loads((whole / "packs" / "meta.json").read_text())["report"]["packs"]
    edge = -(-packs // batch)  # the step in which the first epoch ends
    assert 1 < edge < 11
    for step in (1, edge, edge + 1, 12):
        root = tmp_path / f"cut-{step}"
        crash_at(step, monkeypatch)
        with pytest.raises(StopError):
            train_in(tiny_config(root, *options), rows=tiny_conversations())
        monkeypatch.undo()
        assert_same(train_in(tiny_config(root, *options), rows=tiny_conversations()).path, whole)


def test_negative_control_weights_without_the_optimizer_state_give_another_curve(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash_at(10, monkeypatch)
    with pytest.raises(StopError):
        train_in(tiny_config(tmp_path, *OVERRIDES), rows=tiny_conversations())
    monkeypatch.undo()
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", lambda *_: None)
    run = train_in(tiny_config(tmp_path, *OVERRIDES), rows=tiny_conversations()).path
    assert curve(run)[:10] == curve(undisturbed)[:10]
    assert curve(run)[10:] != curve(undisturbed)[10:]


def test_metrics_of_steps_to_be_done_again_are_dropped_and_a_torn_line_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10}\n{"step": 20}\n{"step": 30}\n{"step": 4')
    assert cut_metrics(path, 20) == {"step": 20}
    assert path.read_text() == '{"step": 10}\n{"step": 20}\n'
    assert cut_metrics(tmp_path / "none.jsonl", 0) is None
