"""Supervised fine-tuning: the cross-entropy of the target tokens, averaged over the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from lwexp.extend import Known, Objective, PackLoss, StepTotals, register
from lwexp.pack.rows import ConversationRows

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from lwexp.pack.dataset import PackBatch


@register
class SFT(Objective):
    """Supervised fine-tuning on packs."""

    kind: Literal["sft"] = "sft"
    normalize: Literal["token", "sequence", "release"]
    """token: mean over the target tokens of the global batch (the paper). sequence: mean over its conversations.
    release: the pack mean times n_sequences / release_divisor (the published code)."""
    release_divisor: float = Field(30.0, gt=0)
    """The undocumented 30 of THUDM/LongWriter train/main.py:68 at 3fcfdff."""

    rows: ClassVar[ConversationRows] = ConversationRows()

    @property
    def summary(self) -> str:
        return f"mean per {self.normalize}"

    def target_weights(self, batch: PackBatch, totals: StepTotals) -> Float[Tensor, " targets"]:
        from lwexp.train.objectives.losses import sft_weights

        return sft_weights(batch.target_documents, len(batch.lengths), totals, self.normalize, self.release_divisor)

    def pack_loss(
        self, logprobs: Float[Tensor, " targets"], batch: PackBatch, totals: StepTotals, known: Known
    ) -> PackLoss:
        """This pack's share of the step's loss.

        Two numbers are watched: ``weight``, the sum of the step's target weights (1 except for ``release``), and
        ``long_weight``, the part of that sum on long documents. The ratio ``long_weight / weight`` is the weight of
        long documents in the loss.
        """
        from lwexp.train.objectives.losses import sft_loss, target_counts

        weights = self.target_weights(batch, totals)
        loss = sft_loss(logprobs, weights)
        if known.long_from is None:
            return PackLoss(loss, {})
        counts = target_counts(batch.target_documents, len(batch.lengths))
        is_long = (counts >= known.long_from)[batch.target_documents]
        exact = weights.double()
        return PackLoss(loss, {"weight": exact.sum(), "long_weight": (exact * is_long).sum()})
