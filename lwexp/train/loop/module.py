"""The LightningModule: runs one optimiser step, pack by pack. The maths is in losses, logprobs and optimizer."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Float64
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lwexp.config.train import Optimizer as OptimizerConfig
from lwexp.extend import Known, Objective, PackLoss, StepTotals
from lwexp.pack.dataset import PackBatch
from lwexp.records import LwexpError
from lwexp.train.data.steps import StepBatch
from lwexp.train.loop.nonfinite import NonFinite
from lwexp.train.model.build import ModelBuilder, restore_rotary
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.two_pass import Part, part_logprobs, split_pack, two_pass
from lwexp.train.parallel.optimizer import build_optimizer, gradient_norm, learning_rate_factor, scale_gradients


class StepResult(NamedTuple):
    """Numbers of a finished optimiser step, over all ranks."""

    step: int
    """1-based: how many steps are done."""
    loss: float
    lr: float
    grad_norm: float
    totals: StepTotals
    watched: dict[str, float]
    """Columns of metrics.jsonl that the objective adds."""


class PackedTraining(LightningModule):  # type: ignore[misc]
    """Training on packs, of all weights or an adapter, one Lightning batch per optimiser step.

    Args:
        build: Builds the model inside the strategy's context.
        objective: Gives the loss.
        optimizer: Settings of AdamW and of its schedule.
        total: Optimiser steps of the whole run.
        recompute: Keep only the inputs of layers, and run each layer's forward again in the backward pass.
        offload: Keep those inputs in host memory.
        nonfinite: Handles a loss or gradient that is not finite; None stops at the first.
        make_optimizer: Makes AdamW for the weights as the strategy holds them.
        part_tokens: Train a pack in two passes, in parts of at most this many tokens; None trains it in one pass.
        known: What the loss may use besides log-probs.
    """

    def __init__(
        self,
        build: ModelBuilder,
        objective: Objective,
        optimizer: OptimizerConfig,
        total: int,
        *,
        recompute: bool,
        offload: bool = False,
        nonfinite: NonFinite | None = None,
        make_optimizer: Callable[[nn.Module, OptimizerConfig], torch.optim.Optimizer] = build_optimizer,
        part_tokens: int | None = None,
        known: Known | None = None,
    ) -> None:
        assert recompute or not offload, "there is nothing to offload without recomputation"
        super().__init__()
        self.automatic_optimization = False
        self.objective = objective
        self.result: StepResult | None = None
        self.known = known or Known()
        self._watched: tuple[str, ...] = ()
        self._build = build
        self._optimizer = optimizer
        self._total = total
        self._recompute = recompute
        self._offload = offload
        self._nonfinite = nonfinite or NonFinite(record=None, allowed=0)
        self._part_tokens = part_tokens
        self._make_optimizer = make_optimizer
        self._dropout_seed: int | None = None
        self.model: nn.Module | None = None

    def configure_model(self) -> None:
        if self.model is None:  # Lightning calls this more than once
            self.model = self._build()
            if self._recompute:
                recompute: Any = self.model  # torch's type lacks this method of transformers' models
                recompute.activation_checkpointing_enable(
                    activation_checkpointing_kwargs={"use_reentrant": False}, offload=self._offload
                )

    def on_fit_start(self) -> None:
        assert self.model is not None
        restore_rotary(self.model)  # the strategy may have rounded the rotary frequencies when it cast the model
        if any(isinstance(module, nn.Dropout) and module.p for module in self.model.modules()):
            self._dropout_seed = torch.initial_seed()  # of the run: nothing has been drawn since

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # The learning rate is set in each step, as a pure function of the step's number.
        assert self.model is not None
        return self._make_optimizer(self.model, self._optimizer)

    def training_step(self, batch: StepBatch, index: int) -> None:
        """One optimiser step: run each pack forward and backward, then check, clip and update.

        The host waits for the device once per step, to read the loss and the gradient norm together before the update:
        a number that is not finite must not reach the weights. At 32k tokens a step takes seconds, while refilling the
        device's queue takes milliseconds. (DeepSpeed's own step waits once more, for its overflow check.)
        """
        optimizer = self.optimizers()
        if self._dropout_seed is not None:  # so that a resumed run draws what the whole one does
            torch.manual_seed(self._dropout_seed + 1_000_003 * (batch.step + 1) + 7_919 * self.global_rank)
        lr = self._set_learning_rate(optimizer, batch.step)
        sums = self._reduced(self._accumulate(batch), "sum")
        if self._is_sharded:
            loss, *watched = sums.tolist()
            grad_norm = self._update_sharded(optimizer, loss, batch)
        else:
            norm = gradient_norm(self.parameters())
            clip = torch.clamp(self._optimizer.grad_clip / (norm + 1e-6), max=1.0)
            grad_norm, factor, loss, *watched = torch.cat([torch.stack([norm, clip]).to(sums), sums]).tolist()
            if self._is_finite(loss, grad_norm, batch):
                if factor < 1:
                    scale_gradients(self.parameters(), factor)
                optimizer.step()
            optimizer.zero_grad()
        self.result = StepResult(
            step=batch.step + 1,
            loss=loss,
            lr=lr,
            grad_norm=grad_norm,
            totals=batch.totals,
            watched=dict(zip(self._watched, watched, strict=True)),
        )

    @torch.no_grad()
    def logprobs(self, pack: PackBatch) -> Float[Tensor, " targets"]:
        """Log-probs of all targets of a pack, computed as in training. All ranks must call it, each with its own pack.

        The call goes through the strategy, because DeepSpeed prefetches layers in the order in which it expects them,
        and resets that order only at the start of a forward pass of its own engine.
        """
        found: Tensor = self.trainer.strategy.predict_step(pack)
        return found

    def predict_step(self, pack: PackBatch) -> Float[Tensor, " targets"]:
        assert self.model is not None
        if self._part_tokens is None:
            return pack_logprobs(self.model, pack)
        parts = split_pack(pack, self._part_tokens)
        return part_logprobs(self.model, parts, self._rounds(parts))

    def _set_learning_rate(self, optimizer: Any, step: int) -> float:
        config = self._optimizer
        lr = config.lr * learning_rate_factor(step, self._total, config.warmup_ratio, config.schedule)
        for group in optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _accumulate(self, batch: StepBatch) -> Float64[Tensor, " loss_and_watched"]:
        """Accumulate the gradients of the step's loss. Return this rank's share of the loss and of watched numbers."""
        assert self.model is not None
        sums: Tensor | float = 0.0
        for number, (pack, weight) in enumerate(zip(batch.packs, batch.weights, strict=True), start=1):
            share = self._backward(pack, batch.totals, weight, ends_step=number == len(batch.packs))
            self._watched = tuple(share.watched)
            row = torch.stack([value.detach().double() for value in (share.loss, *share.watched.values())])
            sums = sums + weight * row
        assert isinstance(sums, Tensor)
        return sums

    def _backward(self, pack: PackBatch, totals: StepTotals, weight: float, *, ends_step: bool) -> PackLoss:
        """Run one pack forward and backward, in one pass or in two."""
        assert self.model is not None
        # Data-parallel strategies average gradients over ranks, but the ranks' shares here add up to the step's loss.
        scale = weight * self.trainer.world_size
        if self._part_tokens is None:
            self._start_pack(ends_step)
            share = self._pack_loss(pack_logprobs(self.model, pack), pack, totals)
            self.manual_backward(share.loss * scale)
            return share

        def backward(loss: Float[Tensor, ""], is_last: bool) -> None:
            self._start_pack(ends_step and is_last)
            self.manual_backward(loss * scale)

        parts = split_pack(pack, self._part_tokens)
        return two_pass(
            self.model, parts, self._rounds(parts), lambda logprobs: self._pack_loss(logprobs, pack, totals), backward
        )

    def _rounds(self, parts: list[Part]) -> int:
        """How many parts each rank runs: the most that any rank has, because under ZeRO-3 each pass needs all ranks."""
        return int(self._reduced(torch.tensor(float(len(parts)), device=self.device), "max"))

    def _pack_loss(self, logprobs: Float[Tensor, " targets"], pack: PackBatch, totals: StepTotals) -> PackLoss:
        return self.objective.pack_loss(logprobs, pack, totals, self.known)

    def _start_pack(self, is_last: bool) -> None:
        """Tell DeepSpeed whether the next backward ends the step.

        DeepSpeed adds the gradients of a backward to earlier ones only if one of its own forwards has begun in between,
        and Lightning calls that forward only once, around the whole ``training_step``. Without the second call below,
        the last pack's gradients would replace those of the others.
        """
        if self._is_sharded:
            self.trainer.model.set_gradient_accumulation_boundary(is_last)
            self.trainer.model.optimizer.clear_backward_seen_flag()

    @property
    def _is_sharded(self) -> bool:
        return hasattr(self.trainer.model, "set_gradient_accumulation_boundary")

    def _reduced(self, values: Float[Tensor, "*n"], how: Literal["sum", "max"]) -> Float[Tensor, "*n"]:
        """Sum or maximum over the ranks."""
        if self.trainer.world_size > 1:
            values = self.trainer.strategy.reduce(values, reduce_op=how)
        return values

    def _is_finite(self, loss: float, grad_norm: float, batch: StepBatch) -> bool:
        """Whether the step may update the weights. If not, the step is recorded.

        Raises:
            LwexpError: If no more steps may be skipped.
        """
        for what, value in (("loss", loss), ("gradient norm", grad_norm)):
            if not math.isfinite(value):
                self._nonfinite.meet(what, value, batch)
                return False
        return True

    def _update_sharded(self, optimizer: Any, loss: float, batch: StepBatch) -> float:
        """Update through DeepSpeed, which clips in its own step and skips the update if a gradient is not finite.

        DeepSpeed resets its buffers only in that step, so it is called even if the update will be skipped.
        """
        is_fine = self._is_finite(loss, 0.0, batch)
        optimizer.step()
        engine = self.trainer.model
        if engine.optimizer.overflow:
            # After a skipped update DeepSpeed still returns the norm of the previous step, so it is not read here.
            if is_fine:
                self._nonfinite.meet("gradient norm", math.nan, batch)
            return math.nan
        if not is_fine:
            raise LwexpError(
                "a loss that is not finite had finite gradients, and the weights have been updated; start over with "
                "rerun=true hardware.kernels=eager"
            )
        return float(engine.get_global_grad_norm())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped_nonfinite"] = self._nonfinite.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._nonfinite.skipped = checkpoint.get("skipped_nonfinite", 0)
