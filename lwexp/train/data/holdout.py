"""Documents that are held out of training, and the measurement of their loss during training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import Callback

from lwexp.config.train import Validation
from lwexp.extend.training_rows import NamedRow
from lwexp.records import LwexpError
from lwexp.text.plain import plural
from lwexp.train.data.steps import rank_share
from lwexp.train.metrics.rowfile import RowFile
from lwexp.train.metrics.tracking import Tracker

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from lwexp.pack.dataset import PackBatch, PackedDataset

log = logging.getLogger(__name__)


class Split(NamedTuple):
    """A mixture in two parts that have no document in common."""

    trained: list[Any]
    held_out: list[Any]


def hold_out(rows: Iterable[NamedRow], validation: Validation) -> Split:
    """Hold out a share of each source's documents.

    Documents are chosen by a hash of their ids, so the choice does not depend on the order of the mixture, and changes
    little if the mixture grows or is drawn again. If the mixture repeats a document, all copies are held out.

    Raises:
        LwexpError: If no document of some source would be left to train on.
    """
    kept = list(rows)
    by_source: dict[str, dict[str, float]] = {}
    for row in kept:
        by_source.setdefault(row.source, {})[row.id] = _place(row.id)
    chosen: set[tuple[str, str]] = set()
    for source, places in by_source.items():
        low = sorted((place, id) for id, place in places.items() if place < validation.share)
        if len(low) == len(places):
            raise LwexpError(
                f"training.validation.share={validation.share}: holds out the whole of {source} "
                f"({plural(len(places), 'document')}); lower it, or set it to 0"
            )
        chosen |= {(source, id) for _, id in low[: validation.max_documents]}
    aside = [row for row in kept if (row.source, row.id) in chosen]
    trained = [row for row in kept if (row.source, row.id) not in chosen]
    log.info("validation: %d in = %d to train on + %d held out", len(kept), len(trained), len(aside))
    return Split(trained, aside)


def _place(id: str) -> float:
    """A number in [0, 1) that depends on the id alone."""
    return int.from_bytes(hashlib.sha256(b"validation\0" + id.encode()).digest()[:7], "big") / 2**56


class HeldOutLoss(Callback):  # type: ignore[misc]
    """Measures the mean loss of the held-out target tokens, overall and for each source, and writes validation.jsonl.

    Under ZeRO each rank runs its share of the packs, and all ranks run the same number.

    Args:
        dataset: Packs of the held-out documents.
        path: The file to write.
        every: Steps between two measurements; there is also one after the last step.
        total: Steps of the whole run.
        done: Steps already done.
        tracker: Gets the same rows.
    """

    def __init__(
        self, dataset: PackedDataset, path: Path, every: int, total: int, *, done: int, tracker: Tracker
    ) -> None:
        self._dataset = dataset
        self._every = every
        self._total = total
        self._tracker = tracker
        self._file = RowFile(path, done)
        self._sources = [name.source for name in dataset.document_names()]
        self._names = sorted(set(self._sources))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, index: int) -> None:
        step = pl_module.result.step
        if step % self._every and step != self._total:
            return
        losses = self.measure(pl_module.logprobs, trainer.strategy.root_device, trainer.global_rank, trainer.world_size)
        row = {"step": step, **losses}
        self._file.write(row)
        self._tracker.log({"step": step} | {f"validation/{key}": value for key, value in losses.items()})

    @torch.no_grad()
    def measure(
        self, logprobs_of: Callable[[PackBatch], Float[Tensor, " targets"]], device: torch.device, rank: int, world: int
    ) -> dict[str, float]:
        """Mean loss in nats per token (``loss``, ``loss/<source>``), and the number of held-out target tokens."""
        sums = torch.zeros(len(self._names), 2, dtype=torch.float64)
        ids, weights = rank_share(range(self._dataset.num_packs), rank, world)
        for pack_id, weight in zip(ids, weights, strict=True):
            pack = self._dataset[pack_id].to(device)
            losses = -logprobs_of(pack).double().cpu()
            owners = [self._names.index(self._sources[number]) for number in pack.document_ids]
            places = torch.tensor(owners)[pack.target_documents.cpu()]
            sums[:, 0].index_add_(0, places, losses * weight)
            sums[:, 1].index_add_(0, places, torch.full_like(losses, weight))
        if world > 1:
            shared = sums.to(device)
            torch.distributed.all_reduce(shared)
            sums = shared.cpu()
        total, tokens = sums.sum(dim=0).tolist()
        each = {f"loss/{name}": row[0] / row[1] for name, row in zip(self._names, sums.tolist(), strict=True)}
        return {"loss": total / tokens, **each, "target_tokens": int(tokens)}
