"""The two objectives: from a pack's log-probs to its share of the step's loss, and what is worth watching."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from lwexp.config.train import DPO, SFT
from lwexp.train.losses import (
    StepTotals,
    dpo_loss,
    find_pairs,
    is_in,
    sequence_logprobs,
    sft_loss,
    sft_weights,
)

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch
    from lwexp.train.reference import Reference


class PackLoss(NamedTuple):
    """A pack's share of a step. Both parts add up over the packs of the step."""

    loss: Tensor
    watched: Tensor
    """One number for each name in the objective's ``watched``, detached."""


class SFTObjective:
    """Cross-entropy of the target tokens, normalised over the step."""

    watched: tuple[str, ...] = ()

    def __init__(self, config: SFT) -> None:
        self.config = config

    def pack_loss(self, logprobs: Tensor, batch: PackBatch, totals: StepTotals) -> PackLoss:
        """Share of the step's loss."""
        weights = sft_weights(
            batch.target_documents, len(batch.lengths), totals, self.config.normalize, self.config.release_divisor
        )
        return PackLoss(sft_loss(logprobs, weights), logprobs.new_zeros(0))


class DPOObjective:
    """DPO against stored reference log-probs, plus a little likelihood of the chosen answers."""

    watched: tuple[str, ...] = ("preference_loss", "margin", "accuracy", "chosen_logp", "rejected_logp", "nll")

    def __init__(self, config: DPO, reference: Reference) -> None:
        self.config = config
        self.reference = reference

    def pack_loss(self, logprobs: Tensor, batch: PackBatch, totals: StepTotals) -> PackLoss:
        """Share of the step's loss: mean over the step's pairs, plus ``nll_weight`` times the token-mean NLL of
        the step's chosen answers."""
        pairs = find_pairs(batch.document_ids)
        policy = sequence_logprobs(logprobs, batch.target_documents, len(batch.lengths))
        # Python lists as indices, and blocking copies, would make the host wait for the device in every pack.
        places = torch.tensor([pairs.chosen, pairs.rejected]).to(policy.device, non_blocking=True)
        known = torch.from_numpy(self.reference.logprobs[list(batch.document_ids)])
        stored = known.to(policy.device, policy.dtype, non_blocking=True)
        chosen, rejected = policy[places]
        before_chosen, before_rejected = stored[places]
        each = dpo_loss(chosen, rejected, before_chosen, before_rejected, self.config.beta)
        is_chosen = is_in(pairs.chosen, batch.target_documents, len(batch.lengths))
        nll = -(logprobs * is_chosen).sum() / totals.chosen_tokens
        loss = each.losses.sum() / totals.pairs + self.config.nll_weight * nll
        sums = (each.losses.sum(), each.margins.sum(), each.correct.double().sum(), chosen.sum(), rejected.sum())
        watched = torch.stack([*(value.detach() / totals.pairs for value in sums), nll.detach()])
        return PackLoss(loss, watched)
