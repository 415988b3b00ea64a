"""Decides which packs each optimiser step uses, over the whole run."""

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from jaxtyping import Int, Real

# Packs are sorted by cost within windows of this many steps. On a 186k mix with 8 packs of 32k per step, each on its
# own rank, ranks are busy 86% of the time in random order and 99% with windows of 32 steps (by the FLOPs of an 8B
# model). Sorting a whole epoch would add another half percent, but all epochs would then repeat the same steps.
_WINDOW_STEPS = 32


Order = Literal["balanced", "random"]


class BatchSchedule(Sequence[list[int]]):
    """Step k of a run as a function of the seed and k alone, so that a resumed run takes the same steps.

    Each epoch is a new permutation. Epochs follow each other without a gap and are cut into global batches, so a
    step may span two epochs and the last step may be short. The schedule does not depend on ranks or accumulation: in
    micro-step m on R ranks, the ranks process ``schedule[k][m * R : (m + 1) * R]``, one pack each. Packs of a step are
    ordered by cost, so that ranks finish together.
    """

    def __init__(
        self,
        num_packs: int,
        costs: Real[np.ndarray, " packs"],
        seed: int,
        epochs: int,
        global_batch: int,
        *,
        order: Order = "balanced",
    ) -> None:
        """Draw the schedule of a run.

        Args:
            num_packs: Packs per epoch.
            costs: Attention cost of each pack in any unit, such as the sum of squared document lengths.
            seed: The run's seed.
            epochs: How often each pack is used.
            global_batch: Packs per step, over all ranks and micro-steps.
            order: ``balanced`` puts packs of similar cost into a step; ``random`` draws each step from all packs.
        """
        assert min(num_packs, epochs, global_batch) >= 1, (num_packs, epochs, global_batch)
        assert costs.shape == (num_packs,), costs.shape
        self.num_packs = num_packs
        self.seed = seed
        self.epochs = epochs
        self.global_batch = global_batch
        self.order = order
        self._costs = costs
        self._orders: dict[int, Int[np.ndarray, " packs"]] = {}

    def __len__(self) -> int:
        return -(-self.num_packs * self.epochs // self.global_batch)

    @overload
    def __getitem__(self, k: int) -> list[int]: ...
    @overload
    def __getitem__(self, k: slice) -> list[list[int]]: ...
    def __getitem__(self, k: int | slice) -> list[int] | list[list[int]]:
        """Pack ids of global step k, cheapest first."""
        if isinstance(k, slice):
            return [self[step] for step in range(*k.indices(len(self)))]
        if not 0 <= k < len(self):
            raise IndexError(f"step {k} of a schedule of {len(self)} steps")
        start = k * self.global_batch
        stop = min(start + self.global_batch, self.num_packs * self.epochs)
        taken: list[int] = []
        while start < stop:
            epoch, place = divmod(start, self.num_packs)
            part = self._order(epoch)[place : place + stop - start]
            taken += part.tolist()
            start += len(part)
        return sorted(taken, key=lambda number: float(self._costs[number]))

    def _order(self, epoch: int) -> Int[np.ndarray, " packs"]:
        if epoch not in self._orders:
            # Two epochs are enough: steps are requested in order, and one may span a boundary.
            for old in [known for known in self._orders if known < epoch - 1 or known > epoch + 1]:
                del self._orders[old]
            self._orders[epoch] = self._draw(epoch)
        return self._orders[epoch]

    def _draw(self, epoch: int) -> Int[np.ndarray, " packs"]:
        """A permutation of the packs; if balanced, the packs of a step have similar costs."""
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.num_packs)
        size = self.global_batch
        if size == 1 or self.order == "random":
            return order
        # First the packs that complete the previous epoch's last step, then whole steps, then the start of a step that
        # the next epoch completes.
        first = min(-epoch * self.num_packs % size, self.num_packs)
        last = first + (self.num_packs - first) // size * size
        whole = order[first:last]
        windows = np.arange(len(whole)) // (size * _WINDOW_STEPS)
        by_cost = whole[np.lexsort((self._costs[whole], windows))]
        steps = rng.permutation(by_cost.reshape(-1, size))
        return np.concatenate([order[:first], steps.reshape(-1), order[last:]])
