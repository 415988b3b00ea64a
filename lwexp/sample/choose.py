"""Chooses tokens from logits, row by row: no row's choice depends on another's."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def choose_tokens(
    logits: Float[Tensor, "rows vocab"], draws: Float[Tensor, " rows"], *, temperature: float, top_p: float, top_k: int
) -> Int[Tensor, " rows"]:
    """Pick one token per row, by inverting the cumulative distribution at the row's draw.

    Args:
        logits: After any repetition penalty.
        draws: One number per row, uniform in [0, 1). The same logits and draw give the same token.
        temperature: 0 picks the largest logit and ignores all other settings.
        top_p: Keeps the fewest tokens whose probabilities add up to this much; 1 keeps all.
        top_k: Keeps this many tokens; 0 keeps all. Applied before ``top_p``, as vLLM and transformers do.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    # float64, because the error of a float32 sum over 150,000 tokens exceeds the probability of the rarest ones.
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    order = None
    if top_k or top_p < 1:
        probabilities, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if top_k:
            probabilities[:, top_k:] = 0
            probabilities /= probabilities.sum(dim=-1, keepdim=True)
        if top_p < 1:
            before = probabilities.cumsum(dim=-1) - probabilities
            probabilities[before >= top_p] = 0
    cumulative = probabilities.cumsum(dim=-1)
    target = draws.to(cumulative)[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, target, right=True).clamp_(max=logits.shape[-1] - 1)
    return (chosen if order is None else order.gather(1, chosen)).squeeze(1)


def penalise_repeats(
    logits: Float[Tensor, "rows vocab"], seen: Bool[Tensor, "rows vocab"], penalty: float | Float[Tensor, "rows 1"]
) -> Float[Tensor, "rows vocab"]:
    """Make tokens that occur in the prompt or the answer so far less likely (penalty > 1) or more likely (< 1).

    Source: Keskar et al. 2019 (arXiv 1909.05858), section 4.1, with the usual rule for negative logits: they are
    multiplied, because dividing would make them more likely.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


class SeenTokens:
    """Which tokens occur in each slot's prompt and answer. Costs nothing while no answer has a repetition penalty.

    Args:
        slots: Number of slots; those in use come first.
        vocabulary: Number of tokens.
        device: Where the logits are.
    """

    def __init__(self, slots: int, vocabulary: int, device: torch.device) -> None:
        self._is_on = False
        self._shape = (slots, vocabulary)
        self._device = device

    def admit(self, first: int, prompts: Sequence[list[int]], penalty: float) -> None:
        """Fill the slots from ``first`` on."""
        if penalty != 1 and not self._is_on:
            self._is_on = True
            self._table = torch.zeros(self._shape, dtype=torch.bool, device=self._device)
            self._penalties = torch.ones(self._shape[0], 1, dtype=torch.float64, device=self._device)
        for slot, tokens in enumerate(prompts if self._is_on else (), start=first):
            self._penalties[slot] = penalty
            self._table[slot] = False
            self._table[slot, tokens] = True

    def add(self, chosen: Int[Tensor, " rows"]) -> None:
        """Add the token that each slot in use was given."""
        if self._is_on:
            self._table[torch.arange(len(chosen), device=chosen.device), chosen] = True

    def free(self, slot: int, last: int) -> None:
        """Release a slot; the last slot moves into its place."""
        if self._is_on:
            self._table[slot] = self._table[last]
            self._penalties[slot] = self._penalties[last]

    def penalise(self, logits: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows vocab"]:
        """Apply each slot's penalty to its logits."""
        if not self._is_on:
            return logits
        rows = len(logits)
        return penalise_repeats(logits, self._table[:rows], self._penalties[:rows].to(logits.dtype))
