"""A training run in a process of its own, behind the commands' own shell, with slow steps and mishaps.

    python -m tests.train.stopped_run '{"pause": 0.05}' root=... objective.max_steps=20

The first argument is JSON: ``pause``, seconds that each step takes longer; ``long``, {step: seconds} for single ones;
``full``, "export" or the step of a checkpoint from whose writing on no file may grow beyond 20 kB.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    from lwexp.config import run_script

    mishaps = json.loads(sys.argv.pop(1))
    slow_down(mishaps.get("pause", 0.0), mishaps.get("long", {}))
    fill_the_disk(mishaps.get("full"))
    run_script("train", train)


def train(config: Any) -> None:
    """What the command does with a config, less the mixture."""
    import torch

    from lwexp.runs.logs import console_log
    from lwexp.train.planner.hardware import settle_hardware
    from tests.train.tiny_packs import tiny_conversations, train_in

    torch.set_num_threads(1)
    console_log()
    train_in(settle_hardware(config), rows=tiny_conversations())


def slow_down(pause: float, long: dict[str, float]) -> None:
    module: Any = importlib.import_module("lwexp.train.loop.module").PackedTraining
    train_a_step = module.training_step

    def slow(self: Any, batch: Any, index: int) -> None:
        train_a_step(self, batch, index)
        time.sleep(long.get(str(batch.step + 1), pause))

    module.training_step = slow


def fill_the_disk(when: str | int | None) -> None:
    """RLIMIT_FSIZE: the kernel refuses larger files (EFBIG) as a full disk does (ENOSPC)."""
    callbacks: Any = importlib.import_module("lwexp.train.loop.callbacks")
    run: Any = importlib.import_module("lwexp.train.loop.run")
    save, export = callbacks.save_checkpoint, run.export_model

    def limited(call: Any, *given: Any, **more: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        try:
            call(*given, **more)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    if when == "export":
        run.export_model = lambda *given, **more: limited(export, *given, **more)
    elif when is not None:

        def save_at(folder: Path, step: int, *rest: Any) -> None:
            limited(save, folder, step, *rest) if step >= int(when) else save(folder, step, *rest)

        callbacks.save_checkpoint = save_at


if __name__ == "__main__":
    main()
