"""The pack loss of DPO as a pure function of per-token log-probs. It needs no model and no ranks.

Every preference loss depends on only two numbers per document: the (weighted) sum of its target log-probs, and the same
sum under the reference. So the gradient for a token is the gradient for its document's sum times the token's weight.
This allows training a pair one answer at a time (``two_pass``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lwexp.extend import PackLoss, PreferenceForm, StepTotals
from lwexp.train.objectives.losses import sequence_logprobs, target_counts

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch
    from lwexp.train.objectives.dpo import DPO
    from lwexp.train.objectives.reference import Reference


class Pairs(NamedTuple):
    """The pairs of a pack: positions of their answers among its documents, and the global number of each pair."""

    chosen: list[int]
    rejected: list[int]
    numbers: list[int]

    def places(self, device: torch.device) -> Int64[Tensor, "2 pairs"]:
        """Positions of the chosen and of the rejected answers, as a tensor that is copied without blocking. Lists as
        indices would make the host wait for the device in every pack."""
        return torch.tensor([self.chosen, self.rejected]).to(device, non_blocking=True)


class PairLosses(NamedTuple):
    """One value per pair."""

    losses: Float[Tensor, " pairs"]
    margins: Float[Tensor, " pairs"]
    """Beta times the log-ratio of the chosen answer minus that of the rejected one. Positive if the policy, relative to
    the reference, prefers the chosen answer."""

    @property
    def correct(self) -> Bool[Tensor, " pairs"]:
        return self.margins > 0


def find_pairs(document_ids: tuple[int, ...]) -> Pairs:
    """Pairs of a pack: global documents 2i and 2i+1 are the chosen and the rejected answer of pair i."""
    rows = {document: row for row, document in enumerate(document_ids)}
    numbers = [document // 2 for document in document_ids if document % 2 == 0]
    assert 2 * len(numbers) == len(document_ids), f"a pack splits a pair: documents {document_ids}"
    return Pairs([rows[2 * n] for n in numbers], [rows[2 * n + 1] for n in numbers], numbers)


def is_tail(
    target_documents: Int64[Tensor, " targets"], counts: Int64[Tensor, " documents"], pairs: Pairs
) -> Bool[Tensor, " targets"]:
    """Which targets lie beyond the length of the shorter answer of their pair.

    Example: a chosen answer of 2 targets and a rejected one of 4: the last 2 of the rejected one are its tail.
    """
    both = pairs.places(counts.device)
    partner = torch.empty_like(counts)
    partner[both] = counts[both.flip(0)]
    starts = counts.cumsum(0) - counts
    places = torch.arange(len(target_documents), device=counts.device) - starts[target_documents]
    return places >= torch.minimum(counts, partner)[target_documents]


def token_weights(tail: Bool[Tensor, " targets"], ld_alpha: float) -> Float64[Tensor, " targets"]:
    """Weight of each token: 1, or ``ld_alpha`` in the tail, so that the length of an answer matters less.

    Source: LD-DPO (arXiv 2409.06411). ``ld_alpha`` 1 gives plain DPO; 0 ignores the tail.
    """
    return torch.ones_like(tail, dtype=torch.float64).masked_fill(tail, ld_alpha)


def preference_losses(
    policy: Float[Tensor, " documents"],
    reference: Float[Tensor, " documents"] | float,
    counts: Int64[Tensor, " documents"],
    pairs: Pairs,
    form: PreferenceForm,
) -> PairLosses:
    """The loss of each pair from the log-ratios (policy to reference) of its answers.

    Args:
        policy: Sum of the (weighted) target log-probs of each document.
        reference: The same sum under the start model; 0 for a loss without a reference.
        counts: Target tokens of each document.
        pairs: Which documents belong together.
        form: Which loss to use, and its parameters.
    """
    ratios = policy - reference
    if form.loss.is_per_token(form):
        ratios = ratios / counts.clamp(min=1)
    chosen, rejected = ratios[pairs.places(ratios.device)]
    return PairLosses(form.loss.of(chosen, rejected, form), form.beta * chosen - form.beta * rejected)


def weighted_reference(
    reference: Reference, documents: Sequence[int], ld_alpha: float
) -> Float64[np.ndarray, " documents"]:
    """log p of the documents under the reference, with tails weighted by ``ld_alpha``."""
    return reference.of("logprobs", documents) - (1 - ld_alpha) * reference.of("tails", documents)


def dpo_pack_loss(
    config: DPO, logprobs: Float[Tensor, " targets"], batch: PackBatch, totals: StepTotals, reference: Reference | None
) -> PackLoss:
    """A pack's share of the step's loss.

    The watched numbers are means over the step's pairs; ``nll`` is a mean over its chosen tokens. ``kl``, in nats per
    answer, is log reference - log policy, averaged over both answers of a pair. For answers sampled from the reference
    it estimates KL(reference || policy). The estimate is biased, because a pair is the best of several samples and one
    of the others.
    """
    documents, pairs = len(batch.lengths), find_pairs(batch.document_ids)
    counts = target_counts(batch.target_documents, documents)
    weights = token_weights(is_tail(batch.target_documents, counts, pairs), config.ld_alpha)
    policy = sequence_logprobs(logprobs * weights, batch.target_documents, documents)
    both = pairs.places(policy.device)
    sums = {}
    known: Tensor | float = 0.0
    if reference is not None:
        found = torch.from_numpy(weighted_reference(reference, batch.document_ids, config.ld_alpha))
        known = found.to(policy.device, policy.dtype, non_blocking=True)
        sums["kl"] = (known - policy)[both].mean(0)
    each = preference_losses(policy, known, counts, pairs, config)
    chosen, rejected = policy[both]
    chosen_tokens, rejected_tokens = counts[both]
    sums |= {
        "preference_loss": each.losses, "margin": each.margins, "accuracy": each.correct, "chosen_logp": chosen,
        "rejected_logp": rejected, "chosen_tokens": chosen_tokens, "rejected_tokens": rejected_tokens,
    }  # fmt: skip
    total_pairs = totals.documents // 2
    is_chosen = is_in(pairs.chosen, batch.target_documents, documents)
    nll = -(logprobs * is_chosen).sum() / totals.counted["chosen_tokens"]
    loss = config.nll_weight * nll
    if config.loss.trains:
        loss = loss + each.losses.sum() / total_pairs
    watched = {name: value.detach().double().sum() / total_pairs for name, value in sums.items()}
    return PackLoss(loss, {**watched, "nll": nll.detach().double()})


def is_in(rows: list[int], target_documents: Int64[Tensor, " targets"], num_documents: int) -> Bool[Tensor, " targets"]:
    """Which targets belong to the documents at the positions ``rows`` of the pack."""
    member = torch.zeros(num_documents, dtype=torch.bool)
    member[rows] = True
    return member.to(target_documents.device, non_blocking=True)[target_documents]
