"""What the parts of a run share, and what follows from its config: model, objective, optimiser."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from lwexp.config.schema import Config
from lwexp.config.train import DPO, Zero
from lwexp.config.train import Optimizer as OptimizerConfig
from lwexp.pack.dataset import PackedDataset
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory, fingerprint
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.loop.module import Objective
from lwexp.train.loop.probe import Ask
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.model.build import build_model, training_device, training_dtype
from lwexp.train.objectives.base import DPOObjective, SFTObjective
from lwexp.train.objectives.reference import compute_reference, load_or_compute
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.parallel.rank_sync import Ranks
from lwexp.train.planner.hardware import hardware_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class With(NamedTuple):
    """What is around a run: its other processes, who answers the length probe, and who listens for signals."""

    ranks: Ranks
    ask: Ask | None
    stop: StopRequest


class Job(NamedTuple):
    """What the parts of a run share."""

    config: Config
    run: RunDirectory
    dataset: PackedDataset
    tokenizer: PreTrainedTokenizerFast
    start_from: Path | None
    words: int
    beside: With

    def build_sharded(self) -> nn.Module:
        """The same, inside the strategy's context: under ZeRO-3 no process ever holds it whole."""
        hardware = hardware_of(self.config)
        if not isinstance(hardware, Zero):
            return self.build()
        from lwexp.train.parallel.strategy import sharded_loading

        with sharded_loading(hardware):
            return self.build()

    def build(self) -> nn.Module:
        """The model as it is before the first step."""
        hardware = hardware_of(self.config)
        return build_model(
            self.config.model,
            self.tokenizer,
            seed=self.config.seed,
            dtype=training_dtype(hardware),
            weights=self.start_from,
            attend=hardware.attention,
            fuse=hardware.kernels,
        )

    def optimizer(self) -> Callable[[nn.Module, OptimizerConfig], torch.optim.Optimizer]:
        """Makes AdamW for the weights as the strategy holds them."""
        hardware = hardware_of(self.config)
        if not isinstance(hardware, Zero):
            return build_optimizer
        from lwexp.train.parallel.strategy import zero_optimizer

        return functools.partial(zero_optimizer, hardware=hardware)

    def objective(self) -> tuple[Objective, Sequence[int] | None]:
        """The objective, and for DPO the chosen tokens of each pack."""
        config = self.config
        if not isinstance(config.objective, DPO):
            return SFTObjective(config.objective, self.dataset.long_from()), None
        if self.start_from is None:
            raise LwexpError("objective=dpo starts from an SFT run's model; set init_from=<run>")
        device = training_device(hardware_of(config))
        made_from = {
            "model": fingerprint(self.start_from),
            "packs": self.dataset.fingerprint,
            "format": str(training_dtype(hardware_of(config))).removeprefix("torch."),
        }
        # Rank 0 computes them alone, with a whole copy of the model; however long it takes, nobody times out.
        if not is_rank_zero() and self.beside.ranks.hear("reference") is None:
            raise SystemExit(1)  # rank 0 has gone, and has said why
        reference = load_or_compute(
            self.run.path / "reference", made_from, lambda: compute_reference(self.build(), self.dataset, device)
        )
        self.beside.ranks.tell("reference", "ready")
        return DPOObjective(config.objective, reference), reference.chosen_tokens.tolist()
