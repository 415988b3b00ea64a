"""Training data as Lightning sees it: one epoch whose batch k is all the work of this rank in optimiser step k.

A Lightning batch holds all packs that this rank runs in an optimiser step, and ``training_step`` accumulates the
gradients by manual optimisation. The usual alternative, one pack per batch with accumulate_grad_batches, needs the same
number of packs in every step: Lightning and DeepSpeed count micro-batches, so the short last step of an epoch would be
merged into the next step or weighted wrongly, and a checkpoint would count something other than optimiser steps. Here
the number of batches done equals the number of optimiser steps done, and it is all the state that the data need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from lwexp.extend import StepTotals
from lwexp.records import LwexpError
from lwexp.text.plain import plural

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch, PackedDataset


@runtime_checkable
class Schedule(Protocol):
    """The packs of each optimiser step, over all ranks: ``lwexp.pack.batch_schedule.BatchSchedule``."""

    def __len__(self) -> int: ...
    def __getitem__(self, step: int) -> list[int]: ...


class StepBatch:
    """The packs of one rank in one optimiser step.

    This is a plain class on purpose: Lightning looks inside lists, tuples and dataclasses and rebuilds them.

    Args:
        step: Number of the step, from 0.
        packs: This rank's packs.
        weights: One for each pack: 1, or 0 for a pack that only keeps this rank in step with the others.
        totals: Counts over the packs of all ranks.
        pack_ids: Packs of the whole step, over all ranks.
    """

    def __init__(
        self, step: int, packs: Sequence[PackBatch], weights: Sequence[float], totals: StepTotals, pack_ids: list[int]
    ) -> None:
        self.step = step
        self.packs = packs
        self.weights = weights
        self.totals = totals
        self.pack_ids = pack_ids

    def to(self, device: torch.device) -> StepBatch:
        return self._map(lambda pack: pack.to(device, non_blocking=True))

    def pin_memory(self) -> StepBatch:
        return self._map(lambda pack: pack.pin_memory())

    def _map(self, change: Callable[[PackBatch], PackBatch]) -> StepBatch:
        return StepBatch(self.step, [change(pack) for pack in self.packs], self.weights, self.totals, self.pack_ids)


def rank_share(pack_ids: Sequence[int], rank: int, world_size: int) -> tuple[list[int], list[float]]:
    """The packs of a step that one rank runs, and their weights.

    All ranks run the same number of packs, because each forward and backward pass is a collective under ZeRO-3. A rank
    for which the step has no pack left runs the step's first pack with weight 0.

    Example: packs [7, 8, 9] on 2 ranks: rank 0 gets [7, 9] with [1, 1], rank 1 gets [8, 7] with [1, 0].
    """
    mine = list(pack_ids[rank::world_size])
    rounds = -(-len(pack_ids) // world_size)
    fillers = rounds - len(mine)
    return mine + [pack_ids[0]] * fillers, [1.0] * len(mine) + [0.0] * fillers


class Steps(Dataset[StepBatch]):
    """All optimiser steps of a run, as one rank sees them.

    Args:
        dataset: The packs.
        schedule: The packs of each step.
        counted: What the objective counts in each pack (``Objective.count``).
        rank: Number of this rank.
        world_size: Number of ranks of the run.
    """

    def __init__(
        self,
        dataset: PackedDataset,
        schedule: Schedule,
        *,
        counted: Mapping[str, Sequence[int]] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset = dataset
        self.schedule = schedule
        self.counted = counted or {}
        self.rank = rank
        self.world_size = world_size

    def totals(self, pack_ids: Sequence[int]) -> StepTotals:
        """Counts over the packs of a step, from the counts that the data set keeps for each pack; no pack is read."""
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
        pack_ids = self.schedule[step]
        ids, weights = rank_share(pack_ids, self.rank, self.world_size)
        return StepBatch(step, [self.dataset[i] for i in ids], weights, self.totals(pack_ids), pack_ids)


class Remaining(Sampler[int]):
    """Yields the remaining steps in order. Its length is that of the whole run, as Lightning counts from step 0."""

    def __init__(self, start: int, total: int) -> None:
        self.start = start
        self.total = total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))

    def __len__(self) -> int:
        return self.total


class Prefetched:
    """Reads and pins the next step in a thread, while the device works on the current one.

    It uses a thread and not a worker process, because reading a pack is a copy out of mapped memory, which releases the
    GIL, and because a pinned tensor cannot be passed between processes.

    Args:
        steps: The steps to read, in order.
        pin: Put tensors into page-locked memory, from which copies to the device do not block.
    """

    def __init__(self, steps: DataLoader[StepBatch], *, pin: bool) -> None:
        self.steps = steps
        self.pin = pin

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[StepBatch]:
        source = iter(self.steps)

        def read() -> StepBatch | None:
            batch: StepBatch | None = next(source, None)
            return batch.pin_memory() if batch is not None and self.pin else batch

        with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as thread:
            coming = thread.submit(read)
            while (batch := coming.result()) is not None:
                coming = thread.submit(read)
                yield batch


class StepsModule(LightningDataModule):  # type: ignore[misc]
    """Gives the steps to Lightning. A checkpoint stores how many are done.

    Args:
        dataset: The packs.
        schedule: The packs of each step.
        total: Steps of the run; fewer than the schedule has if ``objective.max_steps`` limits them.
        counted: As in ``Steps``.
    """

    def __init__(
        self, dataset: PackedDataset, schedule: Schedule, total: int, counted: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.schedule = schedule
        self.total = total
        self.counted = counted
        self.done = 0

    def train_dataloader(self) -> Prefetched:
        trainer = self.trainer
        steps = Steps(
            self.dataset, self.schedule, counted=self.counted, rank=trainer.global_rank, world_size=trainer.world_size
        )
        loader = DataLoader(steps, batch_size=None, sampler=Remaining(self.done, self.total))
        return Prefetched(loader, pin=trainer.strategy.root_device.type == "cuda")

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        # Lightning itself cannot look into a StepBatch.
        return batch if device.type == "cpu" else batch.to(device)

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done, "total": self.total, "packs": self.dataset.num_packs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the steps that were done when the checkpoint was saved.

        Raises:
            LwexpError: If the checkpoint has another number of steps or packs than this run.
        """
        total, packs = state_dict["total"], state_dict["packs"]
        if (total, packs) != (self.total, self.dataset.num_packs):
            raise LwexpError(
                f"the checkpoint has {plural(total, 'step')} over {plural(packs, 'pack')}, this run {self.total:,} "
                f"over {self.dataset.num_packs:,}; the data of this run have changed: delete its checkpoints folder to "
                f"start over"
            )
        self.done = state_dict["done"]
