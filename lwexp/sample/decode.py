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
from lwexp.sample.slot_attention import slot_attention, use_slot_attention

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


class DecodedToken(NamedTuple):
    """What one step added to an answer: its next token, its end, or both."""

    id: str
    token: int | None  # None at a stop token
    finish_reason: Literal["stop", "length"] | None  # None while the answer goes on


@dataclass
class _Row:
    """An answer being written."""

    request: DecodeRequest
    sample: SampleConfig
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
    decoder = Decoder(model, sample.batch_size, stop_ids)
    tokens: dict[str, list[int]] = {}
    while waiting or decoder.is_busy:
        # Fill a quarter of the slots at a time, because reading one prompt takes as long as a step of the batch.
        if waiting and (decoder.free >= sample.batch_size / 4 or not decoder.is_busy):
            new = [waiting.popleft() for _ in range(min(decoder.free, len(waiting)))]
            decoder.admit(new, sample)
            tokens |= {request.id: [] for request in new}
        for id, token, finish_reason in decoder.choose():
            if token is not None:
                tokens[id].append(token)
            if finish_reason is not None:
                yield DecodeResult(id, tokens.pop(id), finish_reason)
        decoder.advance()


class Decoder:
    """A number of slots, each with one answer. Every step gives each answer its next token.

    Args:
        model: A causal language model of transformers, in evaluation mode. From now on it attends through
            ``slot_attention.attend``.
        slots: How many answers are written at once.
        stop_ids: An answer ends before the first of these.
    """

    def __init__(self, model: Any, slots: int, stop_ids: Sequence[int]) -> None:
        use_slot_attention(model)
        self._model = model
        self._slots = slots
        self._stops = frozenset(stop_ids)
        self._rows: list[_Row] = []
        self._cache = SlotCache(slots)
        self._logits: Logits = torch.empty(0, device=model.device)
        self._seen = _Seen(slots, model)
        self._chosen: list[int] = []

    @property
    def is_busy(self) -> bool:
        """Whether any answer is being written."""
        return bool(self._rows)

    @property
    def free(self) -> int:
        """How many answers can be admitted."""
        return self._slots - len(self._rows)

    @property
    def logits(self) -> Logits:
        """Logits of the next token of each answer, in the order in which the answers were admitted."""
        return self._logits

    @torch.inference_mode()
    def admit(self, new: Sequence[DecodeRequest], sample: SampleConfig) -> None:
        """Read prompts into free slots; ``sample.batch_size`` is not used."""
        first = _read_prompts(self._model, new, self._cache)
        self._logits = torch.cat([self._logits, first]) if self._rows else first
        self._seen.admit(len(self._rows), new, sample.repetition_penalty)
        self._rows += [_Row(request, sample, random.Random(request.seed)) for request in new]

    @torch.inference_mode()
    def choose(self) -> list[DecodedToken]:
        """Choose the next token of every answer. An answer that ends frees its slot."""
        self._chosen = _next_tokens(self._logits, self._rows, self._seen)
        given = []
        for slot in reversed(range(len(self._rows))):
            row, token = self._rows[slot], self._chosen[slot]
            if token in self._stops:
                given.append(DecodedToken(row.request.id, None, "stop"))
                self._close(slot)
                continue
            row.tokens.append(token)
            is_full = len(row.tokens) == row.sample.max_new_tokens
            given.append(DecodedToken(row.request.id, token, "length" if is_full else None))
            if is_full:
                self._close(slot)
        return given

    @torch.inference_mode()
    def advance(self) -> None:
        """Give the model the chosen tokens. Follows each ``choose``."""
        if self._rows:
            self._logits = _step(self._model, self._chosen, self._cache)

    @torch.inference_mode()
    def drop(self, id: str) -> None:
        """Free the slot of an answer that is no longer wanted. Call it between ``choose`` and ``advance``."""
        for slot, row in enumerate(self._rows):
            if row.request.id == id:
                self._close(slot)
                return

    def _close(self, slot: int) -> None:
        """Free a slot everywhere; the last slot moves into its place."""
        self._cache.free(slot)
        self._seen.free(slot, len(self._rows) - 1)
        rows, chosen = self._rows, self._chosen
        rows[slot], chosen[slot] = rows[-1], chosen[-1]
        del rows[-1], chosen[-1]


def _read_prompts(model: Any, new: Sequence[DecodeRequest], cache: SlotCache) -> Logits:
    """Fill the cache with prompts, and return the logits after each.

    Prompts are padded on the right: causal attention never attends to the padding, so no mask is needed.
    """
    lengths = [len(request.tokens) for request in new]
    ids = torch.zeros(len(new), max(lengths), dtype=torch.long)
    for row, request in enumerate(new):
        ids[row, : lengths[row]] = torch.tensor(request.tokens)
    # The cache is made without the model's config, with which layers with a window would drop keys before the window.
    # Prompts that are padded to the longest one still need these keys.
    prefill = DynamicCache()
    with _head_reads(model, lengths):
        logits = model(input_ids=ids.to(model.device), past_key_values=prefill, use_cache=True).logits
    cache.admit(prefill, lengths)
    last: Logits = logits[:, 0]
    return last


@contextmanager
def _head_reads(model: Any, lengths: Sequence[int]) -> Iterator[None]:
    """Make the head multiply only the last token of each row. Operations after the head, such as a factor on the
    logits, stay as in the architecture."""

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


def _next_tokens(logits: Logits, rows: Sequence[_Row], seen: _Seen) -> list[int]:
    logits = seen.penalise(logits)
    draws = torch.tensor([row.draws.random() for row in rows], dtype=torch.float64)
    settings = [(row.sample.temperature, row.sample.top_p, row.sample.top_k) for row in rows]
    chosen = torch.empty(len(rows), dtype=torch.long, device=logits.device)
    for temperature, top_p, top_k in dict.fromkeys(settings):
        same = [slot for slot, setting in enumerate(settings) if setting == (temperature, top_p, top_k)]
        part = slice(None) if len(same) == len(rows) else same
        chosen[part] = choose_tokens(logits[part], draws[part], temperature=temperature, top_p=top_p, top_k=top_k)
    if not torch.stack(logits.aminmax(dim=-1)).isfinite().all():  # NaN passes through aminmax
        raise LwexpError("the model gives logits that are not finite; its weights or its number format are broken")
    seen.add(chosen)
    tokens: list[int] = chosen.tolist()
    return tokens


class _Seen:
    """Which tokens occur in each slot's prompt and answer. Costs nothing while no answer has a repetition penalty."""

    def __init__(self, slots: int, model: Any) -> None:
        self.is_on = False
        self.shape = (slots, model.config.vocab_size)
        self.device = model.device

    def admit(self, first: int, new: Sequence[DecodeRequest], penalty: float) -> None:
        if penalty != 1 and not self.is_on:
            self.is_on = True
            self.table = torch.zeros(self.shape, dtype=torch.bool, device=self.device)
            self.penalties = torch.ones(self.shape[0], 1, dtype=torch.float64, device=self.device)
        for slot, request in enumerate(new if self.is_on else (), start=first):
            self.penalties[slot] = penalty
            self.table[slot] = False
            self.table[slot, request.tokens] = True

    def add(self, chosen: Int64[Tensor, " rows"]) -> None:
        if self.is_on:
            self.table[torch.arange(len(chosen), device=chosen.device), chosen] = True

    def free(self, slot: int, last: int) -> None:
        if self.is_on:
            self.table[slot] = self.table[last]
            self.penalties[slot] = self.penalties[last]

    def penalise(self, logits: Logits) -> Logits:
        if not self.is_on:
            return logits
        rows = len(logits)
        return penalise_repeats(logits, self.table[:rows], self.penalties[:rows].to(logits.dtype))
