"""What looks at the model between steps and changes nothing: held-out loss and the length probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from lwexp.config.schema import Config
from lwexp.pack.dataset import PackedDataset
from lwexp.runs.artifacts import HELD_OUT_METRICS, PROBE_METRICS
from lwexp.train.data.holdout import HeldOutLoss
from lwexp.train.loop.probe import Ask, LengthProbe
from lwexp.train.loop.tracking import Tracker

HELD_OUT = "packs-validation"
"""Folder of the packs whose documents are never trained on."""


def watchers(
    config: Config, folder: Path, tokenizer: Any, ask: Ask | None, total: int, *, done: int, tracker: Tracker
) -> list[Callback]:
    """Callbacks for a run in ``folder`` of ``total`` steps, of which some are done."""
    training = config.training
    found: list[Callback] = []
    if (folder / HELD_OUT / "meta.json").is_file():
        packs, every = PackedDataset(folder / HELD_OUT), training.validation.every_steps
        found.append(HeldOutLoss(packs, folder / HELD_OUT_METRICS, every, total, done=done, tracker=tracker))
    if ask is not None and training.probe.every_steps is not None:
        every, path = training.probe.every_steps, folder / PROBE_METRICS
        found.append(LengthProbe(ask, tokenizer, path, every, total, done=done, tracker=tracker))
    return found
