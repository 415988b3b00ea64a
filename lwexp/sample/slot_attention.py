"""Attention over the slots of a ``SlotCache``, with the window and the softcap that an architecture asks for.

When transformers builds the mask itself, the mask includes the sliding window. When it is given a mask, it uses that
mask unchanged in all layers. Decoding gives its own mask, so the window is applied here, in each layer that has one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lwexp.pack.model_weights import batch_dependent_rotary
from lwexp.records import LwexpError
from lwexp.sample.cache import KeysOrValues

NAME = "lwexp_slots"

Queries = Float[Tensor, "slots heads queries head_dim"]

_CHANGES_SCORES = ("s_aux", "sinks", "position_bias")
"""Arguments by which an architecture asks for scores that are not computed here."""


@contextmanager
def slot_attention(model: Any) -> Iterator[None]:
    """``use_slot_attention`` within the context; the model's own attention is restored afterwards."""
    before = model.config._attn_implementation
    use_slot_attention(model)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def use_slot_attention(model: Any) -> None:
    """Make a transformers model use ``attend``.

    Raises:
        LwexpError: If the model has layers of another kind, such as linear or chunked attention, or if its rotary
            frequencies depend on the batch.
    """
    from transformers import AttentionInterface

    if problem := layers_problem(model.config):
        raise LwexpError(f"{type(model).__name__} {problem}")
    AttentionInterface.register(NAME, attend)
    if model.config._attn_implementation != NAME:
        model.set_attn_implementation(NAME)


def layers_problem(config: Any) -> str | None:
    """Why a model of this config cannot be decoded here; None if nothing is known against it."""
    others = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if others:
        kinds = ", ".join(sorted(others))
        return f"has layers of {kinds}, which cannot be decoded here; serve it with vLLM (engine=vllm)"
    if rotary := batch_dependent_rotary(config):
        return (
            f"has rotary frequencies ({', '.join(rotary)}) that depend on the longest sequence of a batch, so answers "
            f"would change each other; serve it with vLLM (engine=vllm)"
        )
    return None


def attend(
    module: nn.Module,
    query: Queries,
    key: KeysOrValues,
    value: KeysOrValues,
    attention_mask: Bool[Tensor, "slots 1 1 positions"] | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[Float[Tensor, "slots queries heads head_dim"], None]:
    """Causal attention: of whole prompts if there is no mask, else of one token in each slot.

    Args:
        module: The attention layer.
        query: Queries.
        key: Keys of all positions; fewer heads than the queries if they are grouped.
        value: Values.
        attention_mask: True where the token of a slot may attend; None for prompts, which start at position 0.
        scaling: Factor on the scores.
        dropout: Not used: models decode in evaluation mode.
        sliding_window: Tokens that a token attends to, itself included; None means all before it.
        softcap: Scores s become c * tanh(s / c).
        more: Further arguments of transformers.

    Raises:
        LwexpError: If the architecture asks for scores that are not computed here.
    """
    if asked := [name for name in _CHANGES_SCORES if more.get(name) is not None]:
        raise LwexpError(
            f"{type(module).__name__} asks for {asked[0]}, which is not computed here; serve the model with vLLM "
            f"(engine=vllm)"
        )
    seen = _seen(query, key, attention_mask, sliding_window)
    if softcap is not None:
        return _capped(query, key, value, seen, scaling or query.shape[-1] ** -0.5, softcap), None
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    attended, _ = sdpa_attention_forward(module, query, key, value, seen, scaling=scaling, is_causal=True)
    return attended, None


def _seen(query: Queries, key: KeysOrValues, mask: Tensor | None, window: int | None) -> Tensor | None:
    """Where each query attends; None for all positions before it."""
    width = key.shape[2]
    if window is None or window >= width:
        return mask
    places = torch.arange(width, device=query.device)
    if mask is None:
        distance = places[:, None] - places
        return ((distance >= 0) & (distance < window))[None, None]
    newest = mask.sum(-1, keepdim=True) - 1
    return mask & (places > newest - window)


def _capped(
    query: Queries, key: KeysOrValues, value: KeysOrValues, seen: Tensor | None, scale: float, softcap: float
) -> Tensor:
    groups, width = query.shape[1] // key.shape[1], key.shape[2]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * scale / softcap)
    if seen is None:
        seen = torch.ones(width, width, dtype=torch.bool, device=query.device).tril()
    weights = scores.masked_fill(~seen, float("-inf")).softmax(
        -1, dtype=torch.promote_types(scores.dtype, torch.float32)
    )
    return (weights.to(value.dtype) @ value).transpose(1, 2)
