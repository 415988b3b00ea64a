"""What happens after each optimiser step: metrics, progress, checkpoints, and leaving when told to."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch import Callback

from lwexp.records import Preempted
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.checkpoints import save_checkpoint
from lwexp.train.flops import Speedometer
from lwexp.train.module import PackedTraining, StepResult
from lwexp.train.progress import StepBar
from lwexp.train.stopping import StopRequest
from lwexp.train.tracking import Tracker


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics.jsonl; a torn last line (a kill in mid-write) is left out."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def cut_metrics(path: Path, step: int) -> dict[str, float] | None:
    """Drop the rows of steps that will be done again, and give the last one that stays."""
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    aside = path.with_name(path.name + ".tmp")
    aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    aside.replace(path)
    return kept[-1] if kept else None


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
        self._path = path
        self._every = every
        self._total = total
        self._tracker = tracker
        self._speed = speed
        before = cut_metrics(path, done) if is_rank_zero() else None
        self._seconds_before = before["seconds"] if before else 0.0
        self._target_tokens = targets
        self._file: IO[str] | None = None
        self._started = self._last_time = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the file and start the clock."""
        self._started = self._last_time = time.monotonic()
        if is_rank_zero():
            self._file = self._path.open("a", encoding="utf-8")

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
            "loss": result.loss,
            "lr": result.lr,
            "grad_norm": result.grad_norm,
            "target_tokens": self._target_tokens,
            **result.watched,
            **self._speed.row(elapsed),
            "peak_memory_gib": peak_memory_gib(),
            "seconds": round(self._seconds_before + now - self._started, 3),
        }
        self._last_time = now
        self._speed.clear()
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            self._tracker.log({name: value for name, value in row.items() if value is not None})

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Bar(Callback):  # type: ignore[misc]
    """Progress on a terminal."""

    def __init__(self, total: int, done: int) -> None:
        self._bar = StepBar(total, done)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Show it."""
        self._bar.start()

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        """Move it."""
        assert pl_module.result is not None
        self._bar.advance(pl_module.result.loss)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Take it away, also after an error."""
        self._bar.stop()


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
