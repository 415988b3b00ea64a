"""DPO and its relatives: a loss on pairs of answers, plus the NLL of the chosen answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lwexp.extend import Key, Known, Objective, PackLoss, PreferenceForm, StepTotals, Watched, register
from lwexp.pack.rows import PairRows

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from lwexp.pack.dataset import PackBatch, PackedDataset


@register
class DPO(PreferenceForm, Objective):
    """Direct preference optimisation from a finished SFT run."""

    kind: Literal["dpo"] = "dpo"
    nll_weight: float = Field(ge=0)
    """Weight of the token-mean NLL of the chosen answers, which keeps their likelihood from falling. TRL calls it
    rpo_alpha."""
    backward_passes: Annotated[Literal["auto", "one", "two"], Key(formerly="passes")] = "auto"
    """two trains the answers of a pack one after the other. The result is exact; it needs memory for the longest answer
    instead of the whole pack, and one more forward pass. auto selects two if the planner finds that one does not
    fit."""

    rows: ClassVar[PairRows] = PairRows()
    starts_from_run: ClassVar[bool] = True

    @model_validator(mode="after")
    def something_is_trained(self) -> DPO:
        if not self.loss.trains and self.nll_weight == 0:
            raise ValueError(
                f"objective.nll_weight=0: objective.loss={self.loss.kind} would train nothing; set nll_weight=1"
            )
        return self

    @property
    def needs_reference(self) -> bool:
        return self.loss.needs_reference

    @property
    def summary(self) -> str:
        return f"beta {self.beta}"

    def watched(self) -> dict[str, Watched]:
        of_reference = " than its reference does" if self.needs_reference else ""
        found = {
            "preference_loss": Watched(
                "Preference loss", "Without the NLL term. Where the model is still its own reference, sigmoid gives "
                "ln 2 = 0.69, hinge 1, ipo 1/(4 beta^2).", "loss",
            ),
            "margin": Watched(
                "Preference margin", f"How much more the model prefers the chosen answer{of_reference}.",
                "reward margin",
            ),
            "accuracy": Watched(
                "Preference accuracy", "Share of pairs in which the chosen answer is preferred; 0.5 is chance.",
                "share of pairs",
            ),
        }  # fmt: skip
        if self.needs_reference:
            found["kl"] = Watched(
                "KL from the reference", "The reference's log-prob of an answer minus the policy's, over both answers "
                "of a pair. It estimates the KL if the reference wrote the answers; selecting the best adds a bias.",
                "nats",
            )  # fmt: skip
        return found

    def pack_loss(
        self, logprobs: Float[Tensor, " targets"], batch: PackBatch, totals: StepTotals, known: Known
    ) -> PackLoss:
        """This pack's share of the step's loss, which is the mean over its pairs plus ``nll_weight`` times the
        token-mean NLL of its chosen answers. ``preference.dpo_pack_loss`` describes the watched numbers."""
        from lwexp.train.objectives.preference import dpo_pack_loss

        return dpo_pack_loss(self, logprobs, batch, totals, known.reference)

    def count(self, dataset: PackedDataset) -> dict[str, Sequence[int]]:
        """Target tokens of the chosen answers in each pack; their sum is the denominator of the NLL term."""
        import numpy as np

        is_chosen = np.arange(dataset.num_documents) % 2 == 0
        return {"chosen_tokens": dataset.sum_per_pack(dataset.document_targets * is_chosen).tolist()}

    def reference_parts(self, batch: PackBatch) -> dict[str, Float[Tensor, " targets"]]:
        """``tails``: marks the targets beyond the length of the pair's other answer."""
        from lwexp.train.objectives.losses import target_counts
        from lwexp.train.objectives.preference import find_pairs, is_tail

        counts = target_counts(batch.target_documents, len(batch.lengths))
        return {"tails": is_tail(batch.target_documents, counts, find_pairs(batch.document_ids))}

    def max_forward_tokens(self, max_tokens: int, fits: Callable[[int], bool]) -> int:
        """A whole pack in one pass, half a pack in two: a pair may fill a pack, and its answers are trained in turn.

        An answer of more than half a pack's tokens is trained alone and needs more than this.
        """
        if self.backward_passes == "one" or (self.backward_passes == "auto" and fits(max_tokens)):
            return max_tokens
        return -(-max_tokens // 2)

    def passes_line(self, max_tokens: int, forward_tokens: int) -> str:
        if forward_tokens == max_tokens:
            return f"passes: one, both answers of a pair at once in packs of {max_tokens:,} tokens"
        return f"passes: two, one answer after the other at {forward_tokens:,} tokens; exact, one more forward"
