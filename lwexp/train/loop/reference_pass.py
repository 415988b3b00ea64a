"""The reference log-probs of DPO. All ranks compute them before the first step, with the model that is then trained.

They are not computed with a copy: in bf16, DeepSpeed's model rounds differently from a plain one, which can amount to
tenths of a nat on a long answer. With the same model, policy and reference agree exactly at the first step, and no
memory is needed for a second model.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from lwexp.extend import Known, Objective
from lwexp.pack.dataset import PackBatch, PackedDataset
from lwexp.runs.progress import track
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.data.steps import rank_share
from lwexp.train.loop.module import PackedTraining
from lwexp.train.objectives.reference import join_sums, reference_sums, store_reference
from lwexp.train.parallel.rank_sync import gather_from_ranks

log = logging.getLogger(__name__)


class ReferencePass(Callback):  # type: ignore[misc]
    """Computes and stores the reference before the first step of a run.

    Args:
        folder: Where it is stored.
        made_from: Fingerprints of what the reference depends on; used on rank 0 only.
        dataset: All packs; each rank computes its share of them.
        objective: Says which sums it needs from the reference.
    """

    def __init__(
        self, folder: Path, made_from: Mapping[str, str], dataset: PackedDataset, objective: Objective
    ) -> None:
        self._folder, self._made_from = folder, made_from
        self._dataset, self._objective = dataset, objective

    def on_train_start(self, trainer: Any, pl_module: PackedTraining) -> None:
        packs, ids = self._dataset, range(self._dataset.num_packs)
        mine, weights = rank_share(ids, trainer.global_rank, trainer.world_size)

        def of_this_rank() -> Iterator[PackBatch]:
            for pack_id, weight in zip(track(mine, "reference log-probs", len(mine)), weights, strict=True):
                pack = packs[pack_id].to(trainer.strategy.root_device)
                if weight:
                    yield pack
                else:  # a forward is a collective under ZeRO-3, so all ranks run the same number
                    pl_module.logprobs(pack)

        sums = reference_sums(of_this_rank(), pl_module.logprobs, self._objective, packs.num_documents)
        reference = join_sums(gather_from_ranks(sums))
        if is_rank_zero():
            store_reference(self._folder, self._made_from, reference)
        pl_module.known = Known(reference, packs.long_from())
