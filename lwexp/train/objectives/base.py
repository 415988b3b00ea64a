"""The two objectives: from a pack's log-probs to its share of the step's loss, and what is worth watching."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lwexp.config.train import DPO, SFT
from lwexp.train.objectives.losses import StepTotals, sequence_logprobs, sft_loss, sft_weights
from lwexp.train.objectives.preference import (
    find_pairs,
    is_in,
    is_tail,
    preference_losses,
    target_counts,
    token_weights,
)

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch
    from lwexp.train.objectives.reference import Reference


class PackLoss(NamedTuple):
    """A pack's share of a step. Both parts add up over the packs of the step."""

    loss: Float[Tensor, ""]
    watched: Float[Tensor, " names"]
    """One number for each name in the objective's ``watched``, detached."""


class SFTObjective:
    """Cross-entropy of the target tokens, normalised over the step.

    Args:
        config: Its settings.
        long_from: Watch what the step's loss gives to documents of at least so many target tokens; None: nothing.
    """

    watched: tuple[str, ...]
    """``weight``: the sum of the step's target weights (1, but for ``release``); ``long_weight``: the part of it on
    long documents. Their ratio is the share of the loss that long documents have, however wrong they still are."""

    def __init__(self, config: SFT, long_from: int | None = None) -> None:
        self.config = config
        self.long_from = long_from
        self.watched = () if long_from is None else ("weight", "long_weight")

    def pack_loss(self, logprobs: Float[Tensor, " targets"], batch: PackBatch, totals: StepTotals) -> PackLoss:
        """Share of the step's loss."""
        weights = sft_weights(
            batch.target_documents, len(batch.lengths), totals, self.config.normalize, self.config.release_divisor
        )
        return PackLoss(sft_loss(logprobs, weights), self._watch(weights, batch))

    def _watch(self, weights: Float[Tensor, " targets"], batch: PackBatch) -> Float[Tensor, " names"]:
        if self.long_from is None:
            return weights.new_zeros(0)
        counts = target_counts(batch.target_documents, len(batch.lengths))
        is_long = (counts >= self.long_from)[batch.target_documents]
        exact = weights.double()
        return torch.stack([exact.sum(), (exact * is_long).sum()])


class DPOObjective:
    """A preference loss against stored reference log-probs, plus some likelihood of the chosen answers."""

    watched: tuple[str, ...] = (
        "preference_loss", "margin", "accuracy", "chosen_logp", "rejected_logp", "kl",
        "chosen_tokens", "rejected_tokens", "nll",
    )  # fmt: skip
    """Means over the step's pairs, nll over its chosen tokens. ``kl``, in nats an answer, is log reference - log policy
    over both answers: on answers sampled from the reference an estimate of KL(reference || policy), biased in that
    a pair is the best and another of several samples."""

    def __init__(self, config: DPO, reference: Reference) -> None:
        self.config = config
        self.reference = reference

    def pack_loss(self, logprobs: Float[Tensor, " targets"], batch: PackBatch, totals: StepTotals) -> PackLoss:
        """Share of the step's loss: mean over the step's pairs, plus ``nll_weight`` times the token-mean NLL of
        the step's chosen answers."""
        config, documents = self.config, len(batch.lengths)
        pairs = find_pairs(batch.document_ids)
        counts = target_counts(batch.target_documents, documents)
        weights = token_weights(is_tail(batch.target_documents, counts, pairs), config.ld_alpha)
        policy = sequence_logprobs(logprobs * weights, batch.target_documents, documents)
        known = torch.from_numpy(self.reference.weighted(batch.document_ids, config.ld_alpha))
        reference = known.to(policy.device, policy.dtype, non_blocking=True)
        each = preference_losses(policy, reference, counts, pairs, config)
        is_chosen = is_in(pairs.chosen, batch.target_documents, documents)
        nll = -(logprobs * is_chosen).sum() / totals.chosen_tokens
        preference = each.losses.sum() / totals.pairs
        loss = config.nll_weight * nll + (0.0 if config.loss == "none" else preference)
        both = pairs.places(policy.device)
        kl = (reference - policy)[both].mean(0)
        sums = (each.losses, each.margins, each.correct, *policy[both], kl, *counts[both])
        watched = torch.stack(
            [*(value.detach().double().sum() / totals.pairs for value in sums), nll.detach().double()]
        )
        return PackLoss(loss, watched)
