"""What happens after each optimiser step: metrics, progress bar, held-out loss, length probe, checkpoints."""

import math
import resource
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from lwexp.config.schema import Config
from lwexp.config.train import TrainingConfig
from lwexp.pack.dataset import PackedDataset
from lwexp.runs.artifacts import HELD_OUT_METRICS, PROBE_METRICS
from lwexp.runs.progress import counted
from lwexp.train.data.holdout import HeldOutLoss
from lwexp.train.loop.checkpoints import raise_on_all_ranks, save_checkpoint
from lwexp.train.loop.module import PackedTraining, StepResult
from lwexp.train.loop.probe import AnswerPrompts, LengthProbe
from lwexp.train.loop.save_time import SaveTime
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.metrics.rowfile import RowFile
from lwexp.train.metrics.tracking import Tracker
from lwexp.train.parallel.hashed_files import FileHash, HashedFiles
from lwexp.train.planner.flops import Speedometer

HELD_OUT = "packs-validation"
"""Folder of the packs whose documents are never trained on."""


def peak_memory_gib() -> float:
    """Peak memory of this process so far: what torch has allocated on the CUDA device, or else resident memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30, 3)


class Metrics(Callback):  # type: ignore[misc]
    """Writes a row of metrics.jsonl after the first step, after every ``every`` steps, and after the last step.

    Args:
        path: metrics.jsonl. Rows of steps that will be repeated are dropped.
        every: Steps between two rows.
        total: Steps of the whole run.
        done: Steps already done.
        targets: Target tokens of the steps already done.
        tracker: Gets the same rows.
        speed: Turns counts into rates.
    """

    def __init__(
        self, path: Path, every: int, total: int, *, done: int, targets: int, tracker: Tracker, speed: Speedometer
    ) -> None:
        self._every = every
        self._total = total
        self._tracker = tracker
        self._speed = speed
        self._file = RowFile(path, done)
        self._seconds_before = self._file.last["seconds"] if self._file.last else 0.0
        self._target_tokens = targets
        self._started = self._last_time = time.monotonic()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._started = self._last_time = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        result = pl_module.result
        assert result is not None
        self._speed.add(result.totals)
        self._target_tokens += result.totals.target_tokens
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
    """The value, or None if it is not finite: JSON has no NaN, so a skipped step has null."""
    return value if math.isfinite(value) else None


class Bar(Callback):  # type: ignore[misc]
    """Shows steps done, rate, time left, the newest loss, tokens per second and MFU.

    Tokens per second and MFU are means since this start of the run, like the rate beside them.
    """

    def __init__(self, total: int, done: int, speed: Speedometer) -> None:
        self._total, self._done = total, done
        self._speed = speed
        self._shown = ExitStack()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._started = time.monotonic()
        self._count = self._shown.enter_context(counted("training", self._total, self._done))

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        assert pl_module.result is not None
        self._speed.add(pl_module.result.totals)
        rates = self._speed.row(max(time.monotonic() - self._started, 1e-9))
        note = f"loss {pl_module.result.loss:.4f}, {rates['tokens_per_second']:,.0f} tokens/s"
        mfu = rates["mfu_packed"]
        self._count.advance(note if mfu is None else f"{note}, MFU {mfu:.1%}")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._shown.__exit__(type(exception), exception, exception.__traceback__)  # or progress.json would say "done"

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # Lightning also calls this after an error
        self._shown.close()


def validation_callbacks(
    config: Config,
    folder: Path,
    tokenizer: Any,
    answer: AnswerPrompts | None,
    total: int,
    *,
    done: int,
    tracker: Tracker,
) -> list[Callback]:
    """Held-out loss and length probe, if the run has them. They only read the model."""
    training = config.training
    found: list[Callback] = []
    if (folder / HELD_OUT / "meta.json").is_file():
        packs, every = PackedDataset(folder / HELD_OUT), training.validation.every_steps
        found.append(HeldOutLoss(packs, folder / HELD_OUT_METRICS, every, total, done=done, tracker=tracker))
    if answer is not None and training.probe.every_steps is not None:
        every, path = training.probe.every_steps, folder / PROBE_METRICS
        found.append(LengthProbe(answer, tokenizer, path, every, total, done=done, tracker=tracker))
    return found


class Checkpoints(Callback):  # type: ignore[misc]
    """Saves at intervals of steps and of time, after the last step, and after the step in which a stop signal arrived.

    This must be the last callback, so that the metrics of a step are on disk before its checkpoint.
    """

    def __init__(self, folder: Path, config: TrainingConfig, total: int, *, done: int, stop: StopRequest) -> None:
        """Create it before training.

        Args:
            folder: The run's checkpoints.
            config: How often to save, and how many checkpoints to keep.
            total: Steps of the whole run. The last one is always saved, so that a failed export can be repeated alone.
            done: Steps of the checkpoint that training resumes from, or 0.
            stop: Asks training to stop; this callback updates its counts of steps done and saved.
        """
        self._folder, self._config, self._total = folder, config, total
        self._stop = stop
        stop.done = stop.saved = done
        self._last_save = time.monotonic()
        self._time = SaveTime()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._last_save = time.monotonic()
        self._time.begin_step()
        self._stop.hold()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._stop.release()

    def on_train_batch_end(self, trainer: Any, pl_module: PackedTraining, outputs: Any, batch: Any, index: int) -> None:
        assert pl_module.result is not None
        step = trainer.datamodule.done = self._stop.done = pl_module.result.step
        # Clocks differ between ranks, and a signal may reach only one rank; all must save in the same step.
        is_told, is_time = on_any_rank(trainer, self._stop.asked is not None, self._is_time())
        if is_told or is_time or self._is_due(step):
            self._save(trainer, step)
        if is_told:
            self._stop.leave()
        self._time.begin_step()

    def _is_due(self, step: int) -> bool:
        every = self._config.checkpoint_every_steps
        return step == self._total or (every is not None and step % every == 0)

    def _is_time(self) -> bool:
        minutes = self._config.checkpoint_every_minutes
        return minutes is not None and time.monotonic() - self._last_save >= 60 * minutes

    def _save(self, trainer: Any, step: int) -> None:
        def write(path: Path) -> Mapping[Path, FileHash]:
            trainer.save_checkpoint(path)
            files: HashedFiles = trainer.strategy.checkpoint_io
            raise_on_all_ranks(files.take_failure())
            return files.take()

        began = time.monotonic()
        save_checkpoint(self._folder, step, write, trainer.strategy.barrier, self._config.keep_checkpoints)
        self._time.saved(step, began)
        self._stop.saved = step
        self._last_save = time.monotonic()


def on_any_rank(trainer: Any, *here: bool) -> list[bool]:
    """For each flag, whether it is true on any rank. All ranks must call this, and all get the same answer."""
    if trainer.world_size == 1:
        return list(here)
    flags = torch.tensor(here, dtype=torch.float32, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(flags)
    return [flag > 0 for flag in flags.tolist()]
