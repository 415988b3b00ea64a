"""A step's data on one rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from lwexp.extend import StepTotals

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch


class StepBatch:
    """What one rank does in one optimiser step.

    A plain class on purpose: Lightning walks into lists, tuples and dataclasses and rebuilds them.
    """

    def __init__(
        self, step: int, packs: Sequence[PackBatch], weights: Sequence[float], totals: StepTotals, pack_ids: list[int]
    ) -> None:
        self.step = step
        self.packs = packs
        self.weights = weights
        """1, or 0 for a pack that only keeps this rank in step with the others."""
        self.totals = totals
        self.pack_ids = pack_ids
        """Of the whole step, over all ranks."""

    def to(self, device: torch.device) -> StepBatch:
        """The same step with its tensors on ``device``."""
        packs = [pack.to(device, non_blocking=True) for pack in self.packs]
        return StepBatch(self.step, packs, self.weights, self.totals, self.pack_ids)

    def pin_memory(self) -> StepBatch:
        """The same step in page-locked memory."""
        packs = [pack.pin_memory() for pack in self.packs]
        return StepBatch(self.step, packs, self.weights, self.totals, self.pack_ids)
