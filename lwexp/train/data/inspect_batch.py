"""``inspect_batch``: the packs a run would start with, as they would be trained on."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from lwexp.config.schema import Config
from lwexp.config.train import SFT
from lwexp.pack.inspection import inspect_packs
from lwexp.pack.plan import BatchPlan
from lwexp.train.data.steps import Steps
from lwexp.train.objectives.losses import sft_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerFast

    from lwexp.pack.dataset import PackBatch, PackedDataset


def look_at_packs(config: Config, dataset: PackedDataset, tokenizer: PreTrainedTokenizerFast, count: int) -> None:
    """Print the first ``count`` packs in the order of the run, with the weight of each document in its step's loss.

    DPO shows no weights: they follow from each pair's margin, which needs the model.
    """
    objective = config.objective
    plan = BatchPlan(
        dataset.num_packs, dataset.costs, config.seed, objective.epochs, objective.global_batch, order=config.pack.order
    )
    pack_ids = list(islice(chain.from_iterable(plan), count))
    if not isinstance(objective, SFT):
        inspect_packs(dataset, tokenizer, pack_ids)
        return
    steps, settings = Steps(dataset, plan), objective
    totals = {number: steps.totals(step) for step in reversed(plan[: len(pack_ids)]) for number in step}

    def weigh(pack: PackBatch) -> Sequence[float]:
        weights: list[float] = sft_weights(
            pack.target_documents,
            len(pack.lengths),
            totals[pack.pack_id],
            settings.normalize,
            settings.release_divisor,
        ).tolist()
        return weights

    inspect_packs(dataset, tokenizer, pack_ids, weigh=weigh)
