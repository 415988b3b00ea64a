"""Attention that never crosses a document boundary inside a pack: one function, registered with transformers.

The function is registered once per path, as "packed_auto", "packed_varlen" and so on. These names are not in
transformers' AttentionMaskInterface, so transformers builds no mask (1 GiB of booleans at 32k tokens). It forwards
``lengths``, ``cu_seqlens`` and ``max_length`` from the call of the model to ``packed_attention``. The paths are defined
in ``attention_paths``.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Int32
from torch import Tensor, nn

from lwexp.config.train import Attention
from lwexp.records import LwexpError
from lwexp.train.model.attention_paths import (
    PATHS,
    Attended,
    Documents,
    KeysOrValues,
    Queries,
    cudnn_alone,
    has_varlen,
    installed_flash,
    takes,
)

PREFIX = "packed_"
_NO_EFFECT = frozenset({
    "position_ids", "use_cache", "cache_position", "past_key_values", "output_attentions", "output_hidden_states",
    "return_dict", "position_embeddings", "num_items_in_batch",
})  # fmt: skip
"""Arguments that transformers passes to every attention function and that do not change the result. Any other argument
is refused: an architecture that passes it computes something that is not computed here, such as attention sinks."""


def register_attention(choice: Attention = "auto") -> str:
    """Register an attention path with transformers and return its name for ``attn_implementation``."""
    from transformers import AttentionInterface

    name = PREFIX + choice
    AttentionInterface.register(name, partial(packed_attention, choice=choice))
    return name


def packed_attention(
    module: nn.Module,
    query: Queries,
    key: KeysOrValues,
    value: KeysOrValues,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    *,
    lengths: tuple[int, ...] | None = None,
    cu_seqlens: Int32[Tensor, " documents_and_one"] | None = None,
    max_length: int | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    choice: Attention = "auto",
    **more: Any,
) -> tuple[Attended, None]:
    """Causal attention of each document over itself alone.

    Args:
        module: The attention layer, which transformers passes; only an error message uses it.
        query: Queries of one pack.
        key: Keys. Keys and values may have fewer heads than the queries (grouped-query attention).
        value: Values.
        attention_mask: Must be None: boundaries come from ``lengths`` alone.
        scaling: Factor on the scores; None means ``dim ** -0.5``.
        dropout: Must be 0; GLM-4 and Llama-3.1 train without dropout.
        lengths: Tokens of each document, in order. Python integers, because reading them from the GPU would
            synchronise in every layer.
        cu_seqlens: Running sum of ``lengths`` from 0; computed if it is not given.
        max_length: The longest of ``lengths``.
        sliding_window: Tokens that a token attends to, itself included; None means all before it.
        softcap: Scores s become c * tanh(s / c).
        is_causal: Must not be False.
        choice: Which path to use; ``auto`` uses ``best_path``.
        more: Further arguments that transformers passes; those not known to be without effect are refused.

    Raises:
        LwexpError: If the path cannot run on these tensors, or the architecture needs a different kind of attention.
    """
    if is_causal is False:
        more["is_causal"] = is_causal
    if unknown := sorted(name for name in more if name not in _NO_EFFECT and more[name] is not None):
        raise LwexpError(
            f"model.family: packed attention has no {unknown[0]}, which {type(module).__name__} asks for "
            f"({more[unknown[0]]!s:.40}); choose a model with plain causal attention"
        )
    assert attention_mask is None, "packed attention takes its boundaries from lengths, not from a mask"
    assert dropout == 0.0, f"packed attention has no dropout, got {dropout}"
    assert lengths is not None, "packed attention needs the documents' lengths"
    assert sum(lengths) == query.shape[2], (lengths, query.shape)
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    longest = max_length or max(lengths)
    window = sliding_window if sliding_window is not None and sliding_window < longest else None
    documents = Documents(lengths, cu_seqlens, longest, window, softcap)
    path = _path_for(choice, query, documents, type(module).__name__)
    return PATHS[path](query, key, value, documents, scale), None


def _path_for(choice: Attention, query: Queries, documents: Documents, layer: str) -> str:
    """The path that runs: the chosen one, or for ``auto`` the best one that has what the documents need.

    Raises:
        LwexpError: If the chosen path cannot run on these tensors, or lacks what the layer asks for.
    """
    path = best_path(query.device.type, query.dtype) if choice == "auto" else choice
    if not takes(path, documents):
        if choice != "auto":
            kind = "softcap" if documents.softcap is not None else "window"
            raise LwexpError(
                f"hardware.attention={path}: has no attention {kind}, which {layer} asks for; "
                f"set hardware.attention=auto"
            )
        path = "per_document"
    if path != "per_document" and (problem := unfit(query.device.type, query.dtype)):
        raise LwexpError(f"hardware.attention={path}: {problem}")
    return path


def best_path(device: str, dtype: torch.dtype) -> str:
    """The path that ``auto`` selects: FlashAttention if it is installed, else torch's varlen kernel, else a loop over
    documents. On a CPU, and in float32 and float64, only the loop is available.

    Source: the order is reasoned, not measured (docs/decisions/014).
    """
    if unfit(device, dtype):
        return "per_document"
    if installed_flash() is not None:
        return "flash"
    return "varlen" if has_varlen() else "per_document"


def unfit(device: str, dtype: torch.dtype) -> str | None:
    """Why the CUDA kernels cannot run on tensors of this device and dtype; None if they can."""
    if device != "cuda":
        return f"its kernels need a CUDA device, the tensors are on {device}; set hardware.attention=per_document"
    if dtype not in (torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        return f"its kernels take bf16 and float16, not {name}; set hardware.attention=per_document"
    return None


def attention_problem(choice: Attention) -> str | None:
    """Why a path cannot be used in this installation; None if it can, or if that cannot be checked without a GPU.

    If there is a CUDA device, the path is run on two small documents, forward and backward.
    """
    if choice == "flash" and installed_flash() is None:
        return "hardware.attention=flash needs the flash_attn package; install it, or set hardware.attention=auto"
    if choice in ("varlen", "hybrid") and not has_varlen():
        return (
            f"hardware.attention={choice} needs torch.nn.attention.varlen, torch {torch.__version__} has none; "
            f"set hardware.attention=per_document"
        )
    if choice in ("auto", "per_document") or not torch.cuda.is_available():
        return None
    try:
        _try_on_device(choice)
    except (RuntimeError, LwexpError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"hardware.attention={choice} fails on {torch.cuda.get_device_name()}: {reason}; set it to auto"
    return None


def _try_on_device(choice: str) -> None:
    lengths = (64, 32)
    query, key = (
        torch.zeros(1, heads, sum(lengths), 128, dtype=torch.bfloat16, device="cuda", requires_grad=True)
        for heads in (4, 2)
    )
    documents = Documents(lengths, None, max(lengths))
    run = cudnn_alone if choice == "cudnn" else PATHS[choice]
    torch.autograd.grad(run(query, key, key, documents, 128**-0.5).sum(), (query, key))
    torch.cuda.synchronize()
