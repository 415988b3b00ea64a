"""What the parts of a run share, and how tokenizer, model, reference and optimiser are made from its config."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import Callback
from torch import nn

from lwexp.config.schema import Config
from lwexp.config.train import Hardware, Zero
from lwexp.config.train import Optimizer as OptimizerConfig
from lwexp.extend import Known, Sizes
from lwexp.pack.dataset import PackedDataset
from lwexp.pack.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from lwexp.records import LwexpError, atomic
from lwexp.records.checksums import CHECKSUMS
from lwexp.runs import RunDirectory, fingerprint
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.loop.probe import AnswerPrompts
from lwexp.train.loop.reference_pass import ReferencePass
from lwexp.train.loop.stopping import StopRequest
from lwexp.train.model.build import build_model, training_dtype
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.objectives.reference import load_reference
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.parallel.rank_sync import Ranks
from lwexp.train.planner.hardware import hardware_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class RunContext(NamedTuple):
    """What a run needs besides its config: the other ranks, the function that answers probes, and the stop request."""

    ranks: Ranks
    answer: AnswerPrompts | None
    stop: StopRequest


class TrainingSetup(NamedTuple):
    """What the parts of a run share."""

    config: Config
    run: RunDirectory
    dataset: PackedDataset
    tokenizer: PreTrainedTokenizerFast
    start_from: Path | None
    """Model folder to start from instead of ``config.model``."""
    words: int
    """Words of the longest answer that is trained on: about the longest output to expect from the model."""
    context: RunContext

    @property
    def hardware(self) -> Hardware:
        return hardware_of(self.config)

    @property
    def sizes(self) -> Sizes:
        return model_sizes(self.config.model, self.start_from)

    def build(self, *, quantized: bool = True) -> nn.Module:
        """The whole model as it is before the first step; with ``quantized=False``, none of its weights in 4 bits."""
        model = self.config.model
        return build_model(
            model if quantized else model.unquantized(),
            self.tokenizer,
            seed=self.config.seed,
            dtype=training_dtype(self.hardware),
            weights=self.start_from,
            attend=self.hardware.attention,
            fuse=self.hardware.kernels,
            device=self.hardware.device,
        )

    def build_sharded(self) -> nn.Module:
        """Build the model inside the strategy's context: under ZeRO-3 no process ever holds all of it."""
        with contextlib.ExitStack() as stack:
            if isinstance(self.hardware, Zero):
                from lwexp.train.parallel.strategy import sharded_loading

                stack.enter_context(sharded_loading(self.hardware))
            return self.build()

    def optimizer(self, model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
        """AdamW for the weights as the strategy holds them."""
        if not isinstance(self.hardware, Zero):
            return build_optimizer(model, config, self.hardware.moments)
        from lwexp.train.parallel.strategy import zero_optimizer

        return zero_optimizer(model, config, self.hardware)

    def known(self, done: int) -> tuple[Known, list[Callback]]:
        """What the loss may use besides log-probs, and the callback that computes the reference if it is not on disk.

        Args:
            done: Steps already done.

        Raises:
            LwexpError: If the objective needs a start model and has none, if the stored reference was made from
                something else, or if it is missing although steps are done.
        """
        objective, folder = self.config.objective, self.run.path / "reference"
        if objective.starts_from_run and self.start_from is None:
            raise LwexpError(f"objective={objective.kind} starts from an SFT run's model; set init_from=<run>")
        if not objective.needs_reference:
            return Known(long_from=self.dataset.long_from()), []
        made_from: dict[str, str] = {}
        if is_rank_zero():
            made_from = {
                "model": fingerprint(self.start_from, (CHECKSUMS,)) if self.start_from else "initial weights",
                "packs": self.dataset.fingerprint,
                "format": str(training_dtype(self.hardware)).removeprefix("torch."),
            }
            if load_reference(folder, made_from) is None and done:
                raise LwexpError(
                    f"{folder} is missing: the log-probs of the model before step 1, and the run is at step {done}; "
                    f"restore it, or start the run over with rerun=true"
                )
            self.context.ranks.publish("reference", "checked")
        elif self.context.ranks.wait_for("reference") is None:
            raise SystemExit(1)  # rank 0 has ended and has reported the error
        reference = load_reference(folder)
        if reference is None:
            return Known(), [ReferencePass(folder, made_from, self.dataset, objective)]
        return Known(reference, self.dataset.long_from()), []


def prepare_tokenizer(
    config: Config, folder: Path, rows: Sequence[Any], start_from: Path | None
) -> PreTrainedTokenizerFast:
    """The tokenizer of the start model, of the base model, or one fitted to the rows.

    Args:
        config: The whole config.
        folder: Folder of the run, in which a fitted tokenizer is kept.
        rows: The mixture; not read if the tokenizer is on disk already.
        start_from: Folder of the start model, if the run has one.
    """
    if start_from is not None:
        return load_tokenizer(start_from, None, config.model.chat_settings)
    if config.model.tokenizer == "from_path":
        assert config.model.path is not None
        return load_tokenizer(config.model.path, config.model.revision, config.model.chat_settings)
    kept = folder / "tokenizer"
    if not kept.is_dir():
        documents = (document for row in rows for document in config.objective.rows.documents(row))
        texts = (message.content for document in documents for message in document)
        fitted = train_tokenizer(texts, model_sizes(config.model).vocab_size, config.model.chat_format)
        with atomic(kept) as aside:
            save_tokenizer(fitted, aside)
    # Read the tokenizer back even if it was just fitted, so that every start of the run uses the same one.
    return load_tokenizer(kept, None, config.model.chat_settings)
