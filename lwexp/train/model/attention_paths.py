"""The ways to compute packed attention, all with the same signature. Tests compare each of them with ``per_document``.

No path copies keys or values for grouped queries (except ``varlen`` before torch 2.12), and none builds a mask over a
pack.
"""

import inspect
from collections.abc import Callable
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Queries = Float[Tensor, "1 heads tokens dim"]
KeysOrValues = Float[Tensor, "1 kv_heads tokens dim"]
Attended = Float[Tensor, "1 tokens heads dim"]

LONG_DOCUMENT = 4096
"""Documents of at least this many tokens get a call of their own in ``hybrid``. FlashAttention-2, which varlen runs,
reaches about 60% of cuDNN's speed on Hopper, but each separate call costs kernel launches. The threshold is reasoned,
not measured."""


QUERY_BLOCK = 1024
"""Number of queries that ``in_blocks`` computes in one call."""


class Documents(NamedTuple):
    """Where the documents of a pack begin and end, and how a token attends within its document."""

    lengths: tuple[int, ...]
    cu_seqlens: Int32[Tensor, " bounds"] | None
    max_length: int
    window: int | None = None
    """Tokens that a token attends to, itself included; None means all before it."""
    softcap: float | None = None
    """Scores s become c * tanh(s / c); None leaves them as they are."""

    @property
    def is_plain(self) -> bool:
        """Whether attention is causal and nothing else. A window that no document exceeds changes nothing."""
        return self.softcap is None and (self.window is None or self.window >= self.max_length)

    def bounds(self, device: torch.device) -> Int32[Tensor, " bounds"]:
        return self.cu_seqlens if self.cu_seqlens is not None else boundaries(self.lengths, device)


Path = Callable[[Queries, KeysOrValues, KeysOrValues, Documents, float], Attended]


@lru_cache(maxsize=64)
def boundaries(lengths: tuple[int, ...], device: torch.device) -> Int32[Tensor, " bounds"]:
    """Running sum of lengths from 0, cached so that the layers of a pass share one copy to the device."""
    sums = torch.tensor((0, *lengths), dtype=torch.int64).cumsum(0).to(torch.int32)
    return sums.to(device, non_blocking=True)


def per_document(
    query: Queries, key: KeysOrValues, value: KeysOrValues, documents: Documents, scale: float
) -> Attended:
    """One SDPA call per document; torch chooses the kernel. This was the fastest method of those tried on a CPU.

    Padding the documents into one batch took 1.0 to 1.9 times as long (1,536 tokens, 2 to 32 documents).
    """
    pieces = zip(*(torch.split(tensor, list(documents.lengths), dim=2) for tensor in (query, key, value)), strict=True)
    if documents.is_plain:
        return torch.cat([_sdpa(q, k, v, scale) for q, k, v in pieces], dim=2).transpose(1, 2)
    attended = [in_blocks(q, k, v, scale, window=documents.window, softcap=documents.softcap) for q, k, v in pieces]
    return torch.cat(attended, dim=2).transpose(1, 2)


def in_blocks(
    query: Queries, key: KeysOrValues, value: KeysOrValues, scale: float, *, window: int | None, softcap: float | None
) -> Queries:
    """Attention of one document with a window or a softcap, computed for one block of queries after another.

    A block uses only the keys that its window reaches, so no mask is larger than ``QUERY_BLOCK`` by
    ``QUERY_BLOCK + window``. With a softcap, which SDPA cannot compute, the scores of all blocks stay in memory until
    the backward pass; the flash_attn package avoids that.
    """
    tokens, outputs = query.shape[2], []
    for start in range(0, tokens, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, tokens)
        first = 0 if window is None else max(0, start - window + 1)
        distance = torch.arange(start, stop, device=query.device)[:, None] - torch.arange(
            first, stop, device=query.device
        )
        visible = (distance >= 0) if window is None else (distance >= 0) & (distance < window)
        q, k, v = query[:, :, start:stop], key[:, :, first:stop], value[:, :, first:stop]
        is_grouped = q.shape[1] != k.shape[1]
        if softcap is None:
            outputs.append(
                F.scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale, enable_gqa=is_grouped)
            )
            continue
        if is_grouped:
            groups = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        scores = torch.tanh(q @ k.transpose(2, 3) * (scale / softcap)) * softcap
        scores = scores.masked_fill(~visible, float("-inf"))
        wide = torch.promote_types(scores.dtype, torch.float32)
        outputs.append(torch.softmax(scores, dim=-1, dtype=wide).to(v.dtype) @ v)
    return torch.cat(outputs, dim=2)


def cudnn(query: Queries, key: KeysOrValues, value: KeysOrValues, documents: Documents, scale: float) -> Attended:
    """``per_document`` with cuDNN's kernel, about 1.6 times as fast as FlashAttention-2 on Hopper for long documents.

    cuDNN builds a plan on the host for each new length. It refuses documents of one token; the next kernel in the list
    handles those.
    """
    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(order, set_priority=True):
        return per_document(query, key, value, documents, scale)


def cudnn_alone(query: Queries, key: KeysOrValues, value: KeysOrValues, documents: Documents, scale: float) -> Attended:
    """``cudnn`` without a fallback, to find out whether cuDNN's kernel works on a device."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return per_document(query, key, value, documents, scale)


def varlen(query: Queries, key: KeysOrValues, value: KeysOrValues, documents: Documents, scale: float) -> Attended:
    """torch's FlashAttention kernel for concatenated sequences; its signature differs between torch releases."""
    from torch.nn.attention.varlen import varlen_attn

    known = varlen_parameters()
    # torch 2.10 has is_causal. Later versions have a window instead: tokens backwards (-1 for all), 0 forwards.
    window = (-1, 0) if documents.window is None else (documents.window - 1, 0)
    options: dict[str, Any] = {"is_causal": True} if "is_causal" in known else {"window_size": window}
    if "scale" in known:
        options["scale"] = scale
    else:
        assert abs(scale - query.shape[-1] ** -0.5) < 1e-9, "this torch's varlen_attn has a fixed scale"
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:  # torch before 2.12
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    bounds, longest = documents.bounds(query.device), documents.max_length
    attended = varlen_attn(q, k, v, bounds, bounds, longest, longest, **options)
    assert isinstance(attended, Tensor)
    return attended[None]


def flash(query: Queries, key: KeysOrValues, value: KeysOrValues, documents: Documents, scale: float) -> Attended:
    """The flash_attn package: FlashAttention-3 (flash_attn_interface) if it is installed, else FlashAttention-2."""
    kernel = installed_flash()
    assert kernel is not None, "flash_attn is not installed"
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    bounds, longest = documents.bounds(query.device), documents.max_length
    options: dict[str, Any] = {} if documents.window is None else {"window_size": (documents.window - 1, 0)}
    if documents.softcap is not None:
        options["softcap"] = documents.softcap
    attended = kernel(q, k, v, bounds, bounds, longest, longest, softmax_scale=scale, causal=True, **options)
    # Some releases of FlashAttention-3 return the softmax normalisers as well.
    return cast(Tensor, attended[0] if isinstance(attended, tuple) else attended)[None]


def hybrid(
    query: Queries,
    key: KeysOrValues,
    value: KeysOrValues,
    documents: Documents,
    scale: float,
    long: int = LONG_DOCUMENT,
) -> Attended:
    """Run documents of ``long`` tokens or more through SDPA one by one, and all others together in one varlen call.

    Example, long = 4: lengths 5 1 2 6 form the runs 5 | 1+2 | 6. SDPA computes those of 5 and 6 tokens, varlen those of
    1 and 2.
    """
    runs = _runs(documents.lengths, long)
    sizes = [sum(run) for run in runs]
    pieces = list(zip(*(torch.split(tensor, sizes, dim=2) for tensor in (query, key, value)), strict=True))
    short = [place for place, run in enumerate(runs) if run[0] < long]
    results: dict[int, Tensor] = {
        place: _sdpa(q, k, v, scale).transpose(1, 2) for place, (q, k, v) in enumerate(pieces) if place not in short
    }
    if short:
        lengths = tuple(length for place in short for length in runs[place])
        q, k, v = (torch.cat([pieces[place][i] for place in short], dim=2) for i in range(3))
        attended = varlen(q, k, v, Documents(lengths, None, max(lengths)), scale)
        results.update(zip(short, torch.split(attended, [sizes[place] for place in short], dim=1), strict=True))
    return torch.cat([results[place] for place in range(len(runs))], dim=1)


def _runs(lengths: tuple[int, ...], long: int) -> list[tuple[int, ...]]:
    """Group the lengths: each long document alone, and each stretch of consecutive short documents together."""
    runs: list[tuple[int, ...]] = []
    for is_long, group in groupby(lengths, lambda length: length >= long):
        stretch = tuple(group)
        runs += [(length,) for length in stretch] if is_long else [stretch]
    return runs


def _sdpa(query: Queries, key: KeysOrValues, value: KeysOrValues, scale: float) -> Queries:
    is_grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=is_grouped)


PATHS: dict[str, Path] = {
    "per_document": per_document,
    "varlen": varlen,
    "cudnn": cudnn,
    "flash": flash,
    "hybrid": hybrid,
}


@lru_cache(maxsize=1)
def varlen_parameters() -> frozenset[str]:
    """Parameter names of torch's varlen attention; empty if this version of torch does not have it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(inspect.signature(varlen_attn).parameters)


def takes(path: str, documents: Documents) -> bool:
    """Whether a path can compute these documents' window and softcap."""
    if documents.is_plain or path in ("per_document", "cudnn", "flash"):
        return True
    return path == "varlen" and documents.softcap is None and "window_size" in varlen_parameters()


def has_varlen() -> bool:
    return bool(varlen_parameters())


@lru_cache(maxsize=1)
def installed_flash() -> Callable[..., Any] | None:
    """``flash_attn_varlen_func`` of the newest installed FlashAttention; None if none is installed."""
    from importlib import import_module

    for package in ("flash_attn_interface", "flash_attn"):
        try:
            return cast("Callable[..., Any]", import_module(package).flash_attn_varlen_func)
        except (ImportError, AttributeError):  # not installed, or built for another version of torch
            continue
    return None
