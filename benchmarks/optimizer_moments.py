"""Whether bf16 moments train as float32 AdamW does: the same packs and steps of a finished run, three seeds.

    python -m benchmarks.optimizer_moments runs/demo/long-*            the first 200 steps of its schedule
    python -m benchmarks.optimizer_moments runs/demo/long-* --quick    one seed, 8 steps

"float32" is float32 weights under torch's AdamW. "bf16_masters" is bf16 weights with float32 masters and moments, and
"ours" the same with moments rounded to bf16 at random (hardware.moments=bf16). Everything runs on the CPU, so the steps
are exact and only the number formats differ. The last loss is the mean of the last quarter of the steps, and loss_gap
its difference from float32.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback

from benchmarks.output import Results, show
from lwexp.config import Config
from lwexp.pack.batch_schedule import BatchSchedule
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.runs import Run
from lwexp.train.data.steps import StepsModule
from lwexp.train.loop.module import PackedTraining
from lwexp.train.model.build import build_model
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.parallel.trainer import build_trainer, quiet_lightning
from lwexp.train.planner.hardware import hardware_of, settle_hardware

Moments = Literal["float32", "bf16"]
SYSTEMS: dict[str, tuple[torch.dtype, Moments]] = {
    "ours": (torch.bfloat16, "bf16"),
    "bf16_masters": (torch.bfloat16, "float32"),
    "float32": (torch.float32, "float32"),
}


class Losses(Callback):  # type: ignore[misc]
    """Collects the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.values.append(pl_module.result.loss)


def main() -> None:
    """All seeds and systems."""
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("--")]
    if len(folders) != 1:
        raise SystemExit("wanted: python -m benchmarks.optimizer_moments <folder of a finished training run>")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    is_quick = "--quick" in sys.argv[1:]
    run = Run.load(folders[0])
    assert run.config is not None, f"{run.path} has no readable config.json"
    config = settle_hardware(run.config)
    torch.set_num_threads(config.hardware.threads or 1)
    results: Results = {}
    for seed in (0,) if is_quick else (0, 1, 2):
        runs = {name: train(run, config, seed, 8 if is_quick else 200, *formats) for name, formats in SYSTEMS.items()}
        base = runs["float32"]["last_loss"]
        results[f"seed_{seed}"] = {
            name: numbers | {"loss_gap": numbers["last_loss"] - base} for name, numbers in runs.items()
        }
    show("optimizer_moments", results, ("torch", "transformers", "lightning", "lwexp"))


def train(run: Run, config: Config, seed: int, steps: int, dtype: torch.dtype, moments: Moments) -> dict[str, float]:
    """Losses and time of the first steps of a run's schedule."""
    dataset, losses = PackedDataset(run.path / "packs"), Losses()
    objective = config.objective
    schedule = BatchSchedule(
        dataset.num_packs, dataset.costs, seed, objective.epochs, objective.global_batch, order=config.pack.order
    )
    tokenizer = load_tokenizer(run.path / "model", revision=None, chat=None)
    module = PackedTraining(
        lambda: build_model(config.model, tokenizer, seed=seed, dtype=dtype),
        objective,
        objective.optimizer,
        steps,
        recompute=False,
        make_optimizer=lambda model, optimizer: build_optimizer(model, optimizer, moments),
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, quiet_lightning():
        trainer = build_trainer(hardware_of(config), [losses], objective.optimizer.grad_clip, Path(folder))
        trainer.fit(module, datamodule=StepsModule(dataset, schedule, steps, objective.count(dataset)))
    return {
        "first_loss": losses.values[0],
        "last_loss": statistics.fmean(losses.values[-(steps // 4) :]),
        "seconds_per_step": (time.perf_counter() - start) / steps,
    }


if __name__ == "__main__":
    main()
