"""Preference losses as pure functions of sequence log-probs: DPO and its relatives. No model, no ranks.

Every form is a function of one number a document, the (weighted) sum of its target log-probs, and of that sum
under the reference. So its gradient on a token is its gradient on the document's sum times the token's weight,
which is what lets a pair be trained one answer at a time (``two_pass``).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from lwexp.config.train import PreferenceForm


class Pairs(NamedTuple):
    """Where the pairs of a pack are: rows of its documents, and the global number of each pair."""

    chosen: list[int]
    rejected: list[int]
    numbers: list[int]

    def places(self, device: torch.device) -> Int64[Tensor, "2 pairs"]:
        """Rows of the chosen and of the rejected answers. As tensors, because lists as indices, and blocking copies,
        would make the host wait for the device in every pack."""
        return torch.tensor([self.chosen, self.rejected]).to(device, non_blocking=True)


class PairLosses(NamedTuple):
    """One value a pair."""

    losses: Float[Tensor, " pairs"]
    chosen_rewards: Float[Tensor, " pairs"]
    rejected_rewards: Float[Tensor, " pairs"]

    @property
    def margins(self) -> Float[Tensor, " pairs"]:
        """How much more the policy has moved towards the chosen than towards the rejected answer."""
        return self.chosen_rewards - self.rejected_rewards

    @property
    def correct(self) -> Bool[Tensor, " pairs"]:
        """Whether that movement has the right sign."""
        return self.margins > 0


def find_pairs(document_ids: tuple[int, ...]) -> Pairs:
    """Pairs in a pack: global documents 2i and 2i+1 are the chosen and the rejected answer of pair i."""
    rows = {document: row for row, document in enumerate(document_ids)}
    numbers = [document // 2 for document in document_ids if document % 2 == 0]
    assert 2 * len(numbers) == len(document_ids), f"a pack splits a pair: documents {document_ids}"
    return Pairs([rows[2 * n] for n in numbers], [rows[2 * n + 1] for n in numbers], numbers)


def target_counts(target_documents: Int64[Tensor, " targets"], num_documents: int) -> Int64[Tensor, " documents"]:
    """Target tokens of each document."""
    # Not bincount, which waits for the device to learn the largest number.
    counts = torch.zeros(num_documents, dtype=torch.int64, device=target_documents.device)
    return counts.index_add_(0, target_documents, torch.ones_like(target_documents))


def is_tail(
    target_documents: Int64[Tensor, " targets"], counts: Int64[Tensor, " documents"], pairs: Pairs
) -> Bool[Tensor, " targets"]:
    """Which targets lie beyond the length that both answers of their pair have.

    Example: a chosen answer of 2 targets and a rejected one of 4: the last 2 of the rejected one are its tail.
    """
    both = pairs.places(counts.device)
    partner = torch.empty_like(counts)
    partner[both] = counts[both.flip(0)]
    starts = counts.cumsum(0) - counts
    places = torch.arange(len(target_documents), device=counts.device) - starts[target_documents]
    return places >= torch.minimum(counts, partner)[target_documents]


def token_weights(tail: Bool[Tensor, " targets"], ld_alpha: float) -> Float64[Tensor, " targets"]:
    """1, or ``ld_alpha`` in the tail: a longer answer then counts for less because it is longer.

    Source: LD-DPO (arXiv 2409.06411); 1 gives DPO, 0 ignores all that only one answer has.
    """
    return torch.ones_like(tail, dtype=torch.float64).masked_fill(tail, ld_alpha)


def preference_losses(
    policy: Float[Tensor, " documents"],
    reference: Float[Tensor, " documents"],
    counts: Int64[Tensor, " documents"],
    pairs: Pairs,
    form: PreferenceForm,
) -> PairLosses:
    """The loss of each pair, of the difference d of the two answers' log-ratios (policy to reference).

    ``sigmoid``: -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d), with label smoothing e (0: DPO).
    ``hinge``: max(0, 1 - beta d).
    ``ipo``: (d - 1/(2 beta))^2, with each log-ratio divided by its answer's target tokens.
    With ``length_normalize`` the sigmoid form divides so, too.

    Before the first update policy and reference agree: the sigmoid loss is ln 2, hinge 1, ipo 1/(4 beta^2).

    Args:
        policy: Sum of each document's (weighted) target log-probs.
        reference: The same under the start model.
        counts: Target tokens of each document.
        pairs: Which documents belong together.
        form: Which loss, and its numbers.

    Source: Rafailov et al. 2023, equation 7 (sigmoid); Mitchell 2023 (label smoothing); Zhao et al. 2023, SLiC
        (hinge); Azar et al. 2023, equation 17 (ipo), per token as its authors use it and TRL does.
    """
    ratios = policy - reference
    if form.loss == "ipo" or form.length_normalize:
        ratios = ratios / counts.clamp(min=1)
    chosen, rejected = ratios[pairs.places(ratios.device)]
    difference = chosen - rejected
    if form.loss == "ipo":
        losses = (difference - 1 / (2 * form.beta)) ** 2
    elif form.loss == "hinge":
        losses = F.relu(1 - form.beta * difference)
    else:
        scaled, smoothing = form.beta * difference, form.label_smoothing
        losses = -(1 - smoothing) * F.logsigmoid(scaled) - smoothing * F.logsigmoid(-scaled)
    return PairLosses(losses, form.beta * chosen, form.beta * rejected)


def is_in(rows: list[int], target_documents: Int64[Tensor, " targets"], num_documents: int) -> Bool[Tensor, " targets"]:
    """Which targets belong to the documents ``rows``."""
    member = torch.zeros(num_documents, dtype=torch.bool)
    member[rows] = True
    return member.to(target_documents.device, non_blocking=True)[target_documents]
