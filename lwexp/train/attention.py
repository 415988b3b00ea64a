"""Attention that never crosses a document boundary inside a pack, registered with transformers as "packed".

The name is put into transformers' AttentionInterface and kept out of its AttentionMaskInterface: transformers
then builds no mask at all (1 GiB of booleans at 32k tokens otherwise) and hands ``lengths``, ``cu_seqlens`` and
``max_length`` from the model's call through to ``packed_attention``.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor, nn

NAME = "packed"


def register_attention() -> str:
    """Make ``attn_implementation="packed"`` known to transformers and return that name."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    return NAME


def packed_attention(
    module: nn.Module,
    query: Float[Tensor, "1 heads tokens dim"],
    key: Float[Tensor, "1 kv_heads tokens dim"],
    value: Float[Tensor, "1 kv_heads tokens dim"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    lengths: tuple[int, ...] | None = None,
    cu_seqlens: Int32[Tensor, " documents_and_one"] | None = None,
    max_length: int | None = None,
    **_: Any,
) -> tuple[Float[Tensor, "1 tokens heads dim"], None]:
    """Causal attention of each document over itself alone.

    Args:
        module: The attention layer; unused, transformers passes it.
        query: Queries of one pack; ``key`` and ``value`` may have fewer heads (grouped queries).
        attention_mask: Must be None: a mask would mean that the boundaries came from somewhere else.
        scaling: Factor on the scores; None for ``dim ** -0.5``.
        dropout: Must be 0; GLM-4 and Llama-3.1 train without.
        lengths: Tokens of each document, in order. Python integers, because reading them from the GPU would
            wait for it in every layer.
        cu_seqlens: Running sum of ``lengths`` from 0, for the CUDA kernel.
        max_length: The longest of ``lengths``.
    """
    assert attention_mask is None, "packed attention takes its boundaries from lengths, not from a mask"
    assert dropout == 0.0, f"packed attention has no dropout, got {dropout}"
    assert lengths is not None, "packed attention needs the documents' lengths"
    assert sum(lengths) == query.shape[2], (lengths, query.shape)
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16) and _varlen_parameters():
        assert cu_seqlens is not None
        assert max_length is not None
        return _varlen(query, key, value, cu_seqlens, max_length, scale), None
    return _per_document(query, key, value, lengths, scale), None


def _per_document(
    query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float
) -> Float[Tensor, "1 tokens heads dim"]:
    """One SDPA call a document: the oracle of every other path, and on CPU the fastest of those tried.

    Padding the documents to one batch instead took 1.0 to 1.9 times as long (1,536 tokens, 2 to 32 documents).
    """
    pieces = zip(*(torch.split(tensor, list(lengths), dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
        for q, k, v in pieces
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, cu_seqlens: Tensor, max_length: int, scale: float
) -> Float[Tensor, "1 tokens heads dim"]:
    """torch's FlashAttention kernel for concatenated sequences; its signature differs between torch releases."""
    from torch.nn.attention.varlen import varlen_attn

    known = _varlen_parameters()
    # torch 2.10 says is_causal; from 2.11 on a window that looks back without end and never forward.
    options: dict[str, Any] = {"is_causal": True} if "is_causal" in known else {"window_size": (-1, 0)}
    if "scale" in known:
        options["scale"] = scale
    else:
        assert abs(scale - query.shape[-1] ** -0.5) < 1e-9, "this torch's varlen_attn has a fixed scale"
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    attended = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, max_length, max_length, **options)
    assert isinstance(attended, Tensor)
    return attended[None]


@lru_cache(maxsize=1)
def _varlen_parameters() -> frozenset[str]:
    """Parameter names of torch's varlen attention; empty where this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)
