"""A warning if a step and a save take longer than a SLURM job leaves for them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lwexp.config.train import TrainingConfig
from lwexp.train.loop import save_time
from lwexp.train.loop.callbacks import Checkpoints
from lwexp.train.loop.module import PackedTraining
from lwexp.train.loop.save_time import SaveTime
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.parallel.hashed_files import HashedFiles


class Clock:
    """A clock that a test sets forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(save_time, "time", SimpleNamespace(monotonic=lambda: self.now))

    def step_and_save(self, measured: SaveTime, step_seconds: float, save_seconds: float) -> None:
        measured.begin_step()
        self.now += step_seconds
        began = self.now
        self.now += save_seconds
        measured.saved(7, began)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(logging.getLogger("lwexp"), "propagate", True)
    return Clock(monkeypatch)


def test_a_save_that_the_time_limit_would_cut_off_is_warned_about_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LWEXP_SAVE_SECONDS", "150")
    measured = SaveTime()
    clock.step_and_save(measured, 31.0, 119.0)  # 150 s: just enough
    assert not caplog.records
    clock.step_and_save(measured, 31.0, 119.5)
    clock.step_and_save(measured, 31.0, 300.0)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "step 7 took 31.0 s and its save 119.5 s, but the job is told to save only 150 s before its time limit; "
        "set hydra.launcher.save_seconds=271 or more and submit it again"
    )


def test_one_rank_warns_and_only_in_a_job(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("LWEXP_SAVE_SECONDS", raising=False)
    clock.step_and_save(SaveTime(), 0.0, 1e6)
    monkeypatch.setenv("LWEXP_SAVE_SECONDS", "150")
    monkeypatch.setattr(save_time, "is_rank_zero", lambda: False)
    clock.step_and_save(SaveTime(), 0.0, 1e6)
    assert not caplog.records


def test_each_save_of_a_training_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A step and a save take some time, and this job leaves none."""
    monkeypatch.setattr(logging.getLogger("lwexp"), "propagate", True)
    monkeypatch.setenv("LWEXP_SAVE_SECONDS", "0")
    files = HashedFiles()
    trainer: Any = SimpleNamespace(
        world_size=1, datamodule=SimpleNamespace(done=0), save_checkpoint=lambda path: path.write_text("state"),
        strategy=SimpleNamespace(barrier=lambda: None, checkpoint_io=files),
    )  # fmt: skip
    module: Any = PackedTraining.__new__(PackedTraining)
    saving = Checkpoints(tmp_path, TrainingConfig(checkpoint_every_steps=2), 4, done=0, stop=StopRequest())
    saving.on_train_start(trainer, module)
    for step, warnings in ((1, 0), (2, 1), (3, 1), (4, 1)):
        module.result = SimpleNamespace(step=step)
        saving.on_train_batch_end(trainer, module, None, None, 0)
        assert sum("hydra.launcher.save_seconds=1 " in record.getMessage() for record in caplog.records) == warnings
