"""Continuous batching: every step adds a token to each answer in its slot; a finished answer frees the slot.

An answer depends on the weights, its prompt's tokens, the sampling parameters, and its own stream of random numbers,
seeded by its id. Batch size, other answers and order have no influence, except through floating-point rounding: a
matrix product of 32 rows may differ from one of 8 in its last bit, which occasionally changes a token. The engine
decodes small models in float64, where that does not happen. In bf16 on a GPU it is common: there a resumed run is
equal in distribution only, and the stored answers are the ones that are scored.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformers import DynamicCache

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError
from lwexp.sample.cache import SlotCache
from lwexp.sample.choose import choose_tokens, penalise_repeats
from lwexp.sample.slot_attention import slot_attention

Logits = Float[Tensor, "rows vocab"]


class DecodeRequest(NamedTuple):
    """A prompt to answer once."""

    id: str
    tokens: list[int]
    seed: str  # for this answer's random numbers


class DecodeResult(NamedTuple):
    """An answer, without the stop token."""

    id: str
    tokens: list[int]
    finish_reason: Literal["stop", "length"]


@dataclass
class _Row:
    """An answer being written."""

    request: DecodeRequest
    draws: random.Random
    tokens: list[int] = field(default_factory=list)


@torch.inference_mode()
def decode(
    model: Any, requests: Sequence[DecodeRequest], sample: SampleConfig, stop_ids: Sequence[int]
) -> Iterator[DecodeResult]:
    """Answer requests, and yield each answer as it ends. Their order affects only the speed.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        requests: Put those with long answers together: a step costs as much as its longest answer.
        sample: ``batch_size`` answers are written at once.
        stop_ids: An answer ends before the first of these.

    Raises:
        LwexpError: If the architecture attends in a way that is not computed here, or its logits are not finite.
    """
    with slot_attention(model):
        yield from _decode(model, requests, sample, stop_ids)


def _decode(
    model: Any, requests: Sequence[DecodeRequest], sample: SampleConfig, stop_ids: Sequence[int]
) -> Iterator[DecodeResult]:
    waiting = deque(requests)
    rows: list[_Row] = []
    cache = SlotCache(sample.batch_size)
    logits = torch.empty(0, device=model.device)
    seen = _Seen(sample, model)
    stops = frozenset(stop_ids)
    while waiting or rows:
        free = sample.batch_size - len(rows)
        # Fill a quarter of the slots at a time, because reading one prompt takes as long as a step of the batch.
        if waiting and (free >= sample.batch_size / 4 or not rows):
            new = [waiting.popleft() for _ in range(min(free, len(waiting)))]
            first = _read_prompts(model, new, cache)
            logits = torch.cat([logits, first]) if rows else first
            seen.admit(len(rows), new)
            rows += [_Row(request, random.Random(request.seed)) for request in new]
        tokens = _next_tokens(logits, rows, seen, sample)
        for slot in reversed(range(len(rows))):
            row = rows[slot]
            reason: Literal["stop", "length"] | None = "stop" if tokens[slot] in stops else None
            if reason is None:
                row.tokens.append(tokens[slot])
                reason = "length" if len(row.tokens) == sample.max_new_tokens else None
            if reason is not None:
                yield DecodeResult(row.request.id, row.tokens, reason)
                _close(slot, rows, tokens, cache, seen)
        if rows:
            logits = _step(model, tokens, cache)


def _close(slot: int, rows: list[_Row], tokens: list[int], cache: SlotCache, seen: _Seen) -> None:
    """Drop a slot everywhere; the last slot moves into its place."""
    cache.free(slot)
    seen.free(slot, len(rows) - 1)
    rows[slot], tokens[slot] = rows[-1], tokens[-1]
    del rows[-1], tokens[-1]


def _read_prompts(model: Any, new: Sequence[DecodeRequest], cache: SlotCache) -> Logits:
    """Fill the cache with prompts, and return the logits after each.

    Prompts are padded on the right: causal attention never attends to the padding, so no mask is needed.
    """
    lengths = [len(request.tokens) for request in new]
    ids = torch.zeros(len(new), max(lengths), dtype=torch.long)
    for row, request in enumerate(new):
        ids[row, : lengths[row]] = torch.tensor(request.tokens)
    # Without the model's config, which would make layers with a window forget the keys before it: shorter prompts,
    # padded to the longest, still need them.
    prefill = DynamicCache()
    with _head_reads(model, lengths):
        logits = model(input_ids=ids.to(model.device), past_key_values=prefill, use_cache=True).logits
    cache.admit(prefill, lengths)
    last: Logits = logits[:, 0]
    return last


@contextmanager
def _head_reads(model: Any, lengths: Sequence[int]) -> Iterator[None]:
    """The head multiplies only the last token of each row. What follows it, such as a factor on the logits, is the
    architecture's own."""

    def last_tokens(head: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (hidden,) = inputs
        ends = torch.tensor(lengths, device=hidden.device) - 1
        return (hidden[torch.arange(len(lengths), device=hidden.device), ends][:, None],)

    handle = model.get_output_embeddings().register_forward_pre_hook(last_tokens)
    try:
        yield
    finally:
        handle.remove()


def _step(model: Any, tokens: list[int], cache: SlotCache) -> Logits:
    """Give every slot its next token, and return the logits after it."""
    positions, visible = cache.extend()
    logits: Logits = model(
        input_ids=torch.tensor(tokens, device=model.device)[:, None],
        attention_mask=visible,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).logits[:, -1]
    return logits


def _next_tokens(logits: Logits, rows: Sequence[_Row], seen: _Seen, sample: SampleConfig) -> list[int]:
    logits = seen.penalise(logits)
    draws = torch.tensor([row.draws.random() for row in rows], dtype=torch.float64)
    chosen = choose_tokens(logits, draws, temperature=sample.temperature, top_p=sample.top_p, top_k=sample.top_k)
    # A NaN or infinity anywhere in a row reaches the logit that is chosen, so one number per row is enough to look at.
    if not logits.gather(1, chosen.to(logits.device)[:, None]).isfinite().all():
        raise LwexpError("the model gives logits that are not finite; its weights or its number format are broken")
    tokens: list[int] = chosen.tolist()
    seen.add(chosen)
    return tokens


class _Seen:
    """Which tokens occur in each slot's prompt and answer. Costs nothing without a repetition penalty."""

    def __init__(self, sample: SampleConfig, model: Any) -> None:
        self.penalty = sample.repetition_penalty
        self.is_on = self.penalty != 1
        shape = (sample.batch_size, model.config.vocab_size) if self.is_on else (0, 0)
        self.table = torch.zeros(shape, dtype=torch.bool, device=model.device)

    def admit(self, first: int, new: Sequence[DecodeRequest]) -> None:
        for slot, request in enumerate(new if self.is_on else (), start=first):
            self.table[slot] = False
            self.table[slot, request.tokens] = True

    def add(self, chosen: Int64[Tensor, " rows"]) -> None:
        if self.is_on:
            self.table[torch.arange(len(chosen), device=chosen.device), chosen] = True

    def free(self, slot: int, last: int) -> None:
        if self.is_on:
            self.table[slot] = self.table[last]

    def penalise(self, logits: Logits) -> Logits:
        return penalise_repeats(logits, self.table[: len(logits)], self.penalty) if self.is_on else logits
