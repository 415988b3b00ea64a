"""Handling of losses and gradients that are not finite: record each, then stop, or skip a limited number of steps."""

import json
import logging
from pathlib import Path

from lwexp.records import LwexpError
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.data.steps import StepBatch

log = logging.getLogger(__name__)


class NonFinite:
    """Counts skipped steps against the number allowed. All ranks see the same values, so all decide the same.

    Args:
        record: File that gets a row (step, what, value, packs) for each occurrence; None writes nothing.
        allowed: Number of steps that a run may skip, over all its starts.
    """

    def __init__(self, record: Path | None, allowed: int) -> None:
        self._record = record
        self._allowed = allowed
        self.skipped = 0
        """Number of steps skipped so far; checkpoints store it."""

    def meet(self, what: str, value: float, batch: StepBatch) -> None:
        """Record a value that is not finite, and return normally if the step may be skipped.

        Raises:
            LwexpError: If no more steps may be skipped. The weights have not been updated.
        """
        step = batch.step + 1
        if is_rank_zero() and self._record is not None:
            row = {"step": step, "what": what, "value": str(value), "packs": batch.pack_ids}
            with self._record.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
        if self.skipped >= self._allowed:
            before = f" ({self.skipped} before it were skipped)" if self.skipped else ""
            raise LwexpError(
                f"step {step}: {what} is {value} on packs {batch.pack_ids}{before}; the weights were not updated. "
                f"Lower objective.optimizer.lr, look at the packs with inspect_batch=1, or skip a few such steps "
                f"with training.skip_nonfinite={self._allowed + 1}"
            )
        self.skipped += 1
        log.warning(
            "step %d skipped: %s is %s on packs %s; %d of %d allowed", step, what, value, batch.pack_ids,
            self.skipped, self._allowed,
        )  # fmt: skip
