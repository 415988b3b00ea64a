"""What happens after each optimiser step: metrics, progress, held-out loss, length probe, checkpoints, stopping."""

import math
import resource
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from lwexp.config.schema import Config
from lwexp.pack.dataset import PackedDataset
from lwexp.records import Preempted
from lwexp.runs.artifacts import HELD_OUT_METRICS, PROBE_METRICS
from lwexp.runs.progress import counted
from lwexp.train.data.holdout import HeldOutLoss
from lwexp.train.loop.checkpoints import save_checkpoint
from lwexp.train.loop.module import PackedTraining, StepResult
from lwexp.train.loop.probe import Ask, LengthProbe
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.metrics.rowfile import RowFile
from lwexp.train.metrics.tracking import Tracker
from lwexp.train.planner.flops import Speedometer

HELD_OUT = "packs-validation"
"""Folder of the packs whose documents are never trained on."""


def peak_memory_gib() -> float:
    """Most memory that this process has held so far: what torch allocated on its CUDA device, else resident memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30, 3)


class Metrics(Callback):  # type: ignore[misc]
    """Writes a row every so many steps, at the first and at the last one."""

    def __init__(
        self, path: Path, every: int, total: int, *, done: int, targets: int, tracker: Tracker, speed: Speedometer
    ) -> None:
        """Drop the rows of steps that are to be done again.

        Args:
            path: metrics.jsonl.
            every: Steps between two rows.
            total: Steps of the whole run.
            done: Steps already done.
            targets: Target tokens of those.
            tracker: Gets the same rows.
            speed: Turns counts into rates.
        """
        self._every = every
        self._total = total
        self._tracker = tracker
        self._speed = speed
        self._file = RowFile(path, done)
        self._seconds_before = self._file.last["seconds"] if self._file.last else 0.0
        self._target_tokens = targets
        self._started = self._last_time = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self._started = self._last_time = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        """Count, and write if it is time."""
        result = pl_module.result
        assert result is not None
        self._speed.add(result.totals)
        self._target_tokens += result.target_tokens
        if result.step % self._every == 0 or result.step in (1, self._total):
            self._write(result)

    def _write(self, result: StepResult) -> None:
        now = time.monotonic()
        elapsed = max(now - self._last_time, 1e-9)
        row: dict[str, float | None] = {
            "step": result.step,
            "loss": _finite(result.loss),
            "lr": result.lr,
            "grad_norm": _finite(result.grad_norm),
            "target_tokens": self._target_tokens,
            **result.watched,
            **self._speed.row(elapsed),
            "peak_memory_gib": peak_memory_gib(),
            "seconds": round(self._seconds_before + now - self._started, 3),
        }
        self._last_time = now
        self._speed.clear()
        self._file.write(row)
        self._tracker.log({"step": result.step} | {f"train/{key}": row[key] for key in row if key != "step"})


def _finite(value: float) -> float | None:
    """JSON has no NaN: null, for a step that was passed over."""
    return value if math.isfinite(value) else None


class Bar(Callback):  # type: ignore[misc]
    """Steps done, rate, time left and the newest loss."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done = total, done
        self._shown = ExitStack()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._count = self._shown.enter_context(counted("training", self._total, self._done))

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        assert pl_module.result is not None
        self._count.advance(f"loss {pl_module.result.loss:.4f}")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Also after an error."""
        self._shown.close()


def watchers(
    config: Config, folder: Path, tokenizer: Any, ask: Ask | None, total: int, *, done: int, tracker: Tracker
) -> list[Callback]:
    """What looks at the model between steps and changes nothing: held-out loss and the length probe."""
    training = config.training
    found: list[Callback] = []
    if (folder / HELD_OUT / "meta.json").is_file():
        packs, every = PackedDataset(folder / HELD_OUT), training.validation.every_steps
        found.append(HeldOutLoss(packs, folder / HELD_OUT_METRICS, every, total, done=done, tracker=tracker))
    if ask is not None and training.probe.every_steps is not None:
        every, path = training.probe.every_steps, folder / PROBE_METRICS
        found.append(LengthProbe(ask, tokenizer, path, every, total, done=done, tracker=tracker))
    return found


class Checkpoints(Callback):  # type: ignore[misc]
    """Saves every so many steps and when told to stop. Must come last: metrics reach the disk first."""

    def __init__(self, folder: Path, every: int | None, keep: int, stop: StopRequest) -> None:
        self._folder = folder
        self._every = every
        self._keep = keep
        self._stop = stop

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """From here on a signal waits for the end of the step."""
        self._stop.hold()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """A signal during the last step ends the run here; its checkpoint is there."""
        self._stop.release()

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        """Save if it is time; after SIGTERM save and leave."""
        assert pl_module.result is not None
        step = pl_module.result.step
        trainer.datamodule.done = step
        is_due = self._every is not None and step % self._every == 0
        # A signal reaches ranks at different steps or only one of them; they save and leave together.
        is_told = on_any_rank(trainer, self._stop.asked is not None)
        if is_due or is_told:
            save_checkpoint(self._folder, step, trainer.save_checkpoint, trainer.strategy.barrier, self._keep)
        if is_told:
            raise Preempted(f"{self._stop.asked or 'another rank was told to stop'} at step {step}; saved")


def on_any_rank(trainer: Any, here: bool) -> bool:
    """Whether something is so on any rank. All ranks call it, and all get the same answer."""
    if trainer.world_size == 1:
        return here
    flag = torch.tensor(float(here), device=trainer.strategy.root_device)
    torch.distributed.all_reduce(flag)
    return bool(flag > 0)
