"""``inspect_batch``: print the first packs of a run, as they would be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from lwexp.config.schema import Config
from lwexp.pack.batch_schedule import BatchSchedule
from lwexp.pack.inspection import inspect_packs
from lwexp.train.data.steps import Steps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from lwexp.pack.dataset import PackBatch, PackedDataset


def print_packs(config: Config, dataset: PackedDataset, tokenizer: PreTrainedTokenizerFast, count: int) -> None:
    """Print the first ``count`` packs in the order of the run, with the weight of each document in its step's loss.

    If the weights depend on the model, none are printed: in DPO, for example, they follow from each pair's margin.
    """
    objective = config.objective
    schedule = BatchSchedule(
        dataset.num_packs, dataset.costs, config.seed, objective.epochs, objective.global_batch, order=config.pack.order
    )
    pack_ids = list(islice(chain.from_iterable(schedule), count))
    steps = Steps(dataset, schedule, counted=objective.count(dataset))
    totals = {number: steps.totals(step) for step in reversed(schedule[: len(pack_ids)]) for number in step}

    def weigh(pack: PackBatch) -> Sequence[float] | None:
        weights = objective.target_weights(pack, totals[pack.pack_id])
        return None if weights is None else [float(weight) for weight in weights]

    inspect_packs(dataset, tokenizer, pack_ids, weigh=weigh)
