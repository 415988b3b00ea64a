"""Training data as Lightning sees it: one epoch whose batch k is everything this rank does in optimiser step k.

A Lightning batch is a whole optimiser step (the rank's packs of it), and gradients are accumulated inside
``training_step`` by manual optimisation. The classic alternative, one pack a batch with accumulate_grad_batches,
needs every step to hold equally many packs: Lightning and DeepSpeed count micro-batches, so the short last step
of a plan would be merged into the next one or weighted wrongly, and "steps done" would not be what a checkpoint
counts. Here batches done = optimiser steps done, and the state of the data is that one number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from lwexp.extend import StepTotals
from lwexp.records import LwexpError
from lwexp.train.data.prefetch import Prefetched
from lwexp.train.data.step_batch import StepBatch

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackedDataset


@runtime_checkable
class Plan(Protocol):
    """``lwexp.pack.batch_schedule.BatchSchedule`` as far as training sees it."""

    def __len__(self) -> int: ...
    def __getitem__(self, step: int) -> list[int]: ...


def rank_share(pack_ids: Sequence[int], rank: int, world_size: int) -> tuple[list[int], list[float]]:
    """Packs of a step that one rank runs, with their weights.

    All ranks run equally many, because each forward and backward is a collective under ZeRO-3. Where the step
    has no pack left for a rank, it runs the step's first one with weight 0.

    Example: packs [7, 8, 9] on 2 ranks: rank 0 gets [7, 9] with [1, 1], rank 1 gets [8, 7] with [1, 0].
    """
    mine = list(pack_ids[rank::world_size])
    rounds = -(-len(pack_ids) // world_size)
    fillers = rounds - len(mine)
    return mine + [pack_ids[0]] * fillers, [1.0] * len(mine) + [0.0] * fillers


class Steps(Dataset[StepBatch]):
    """All optimiser steps of a run, from this rank's point of view."""

    def __init__(
        self,
        dataset: PackedDataset,
        plan: Plan,
        *,
        counted: Mapping[str, Sequence[int]] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset = dataset
        self.plan = plan
        self.counted = counted or {}
        """What the objective counts in each pack (``Objective.count``)."""
        self.rank = rank
        self.world_size = world_size

    def totals(self, pack_ids: Sequence[int]) -> StepTotals:
        """Counts over the packs of a step, from the plan alone."""
        return StepTotals(
            packs=len(pack_ids),
            documents=sum(int(self.dataset.document_counts[i]) for i in pack_ids),
            target_tokens=sum(int(self.dataset.target_counts[i]) for i in pack_ids),
            counted={name: sum(int(counts[i]) for i in pack_ids) for name, counts in self.counted.items()},
            tokens=sum(int(self.dataset.token_counts[i]) for i in pack_ids),
            document_squares=sum(int(self.dataset.costs[i]) for i in pack_ids),
            pack_squares=sum(int(self.dataset.token_counts[i]) ** 2 for i in pack_ids),
        )

    def __getitem__(self, step: int) -> StepBatch:
        pack_ids = self.plan[step]
        ids, weights = rank_share(pack_ids, self.rank, self.world_size)
        return StepBatch(step, [self.dataset[i] for i in ids], weights, self.totals(pack_ids), pack_ids)


class Remaining(Sampler[int]):
    """Steps still to do, in order. Its length is that of the whole run, as Lightning counts from the start."""

    def __init__(self, start: int, total: int) -> None:
        self.start = start
        self.total = total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))

    def __len__(self) -> int:
        return self.total


class StepsModule(LightningDataModule):  # type: ignore[misc]
    """Hands the steps to Lightning and remembers how many are done."""

    def __init__(
        self, dataset: PackedDataset, plan: Plan, total: int, counted: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.plan = plan
        self.total = total
        self.counted = counted
        self.done = 0

    def train_dataloader(self) -> Prefetched:
        """Steps from the first that is not done, read one ahead."""
        steps = Steps(
            self.dataset,
            self.plan,
            counted=self.counted,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        loader = DataLoader(steps, batch_size=None, sampler=Remaining(self.done, self.total))
        return Prefetched(loader, pin=self.trainer.strategy.root_device.type == "cuda")

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        """Move the step's packs; Lightning itself cannot look into a ``StepBatch``."""
        return batch if device.type == "cpu" else batch.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Steps done, and what they were steps of."""
        return {"done": self.done, "total": self.total, "packs": self.dataset.num_packs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the steps that a checkpoint has done.

        Raises:
            LwexpError: If the checkpoint counts steps of another plan.
        """
        mine = (self.total, self.dataset.num_packs)
        theirs = (state_dict["total"], state_dict["packs"])
        if mine != theirs:
            raise LwexpError(
                f"the checkpoint has {theirs[0]} steps over {theirs[1]} packs, this run {mine[0]} over {mine[1]}; "
                f"the data under this run has changed: remove its checkpoints folder to start over"
            )
        self.done = state_dict["done"]
