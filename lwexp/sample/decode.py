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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError
from lwexp.sample.cache import SlotCache
from lwexp.sample.choose import SeenTokens, choose_tokens
from lwexp.sample.requests import Finish
from lwexp.sample.slot_attention import slot_attention, use_slot_attention
from lwexp.text.loops import ends_in_repeats

Logits = Float[Tensor, "rows vocab"]

_LOOK_EVERY = 32  # tokens between two searches for a loop


class DecodeRequest(NamedTuple):
    """A prompt to answer once."""

    id: str
    tokens: list[int]
    seed: str  # for this answer's random numbers


class DecodeResult(NamedTuple):
    """An answer, without the stop token."""

    id: str
    tokens: list[int]
    finish_reason: Finish


class DecodedToken(NamedTuple):
    """What one step added to an answer: its next token, its end, or both."""

    id: str
    token: int | None  # None at a stop token
    finish_reason: Finish | None  # None while the answer goes on


@dataclass
class _Row:
    """An answer being written."""

    request: DecodeRequest
    sample: SampleConfig
    draws: random.Random
    tokens: list[int] = field(default_factory=list)

    def ended(self) -> Finish | None:
        """Why the answer ends with its last token; None if it goes on."""
        count, repeats = len(self.tokens), self.sample.stop_after_repeats
        if count == self.sample.max_new_tokens:
            return "length"
        # By the answer's own count of tokens, so that the end does not depend on the other answers.
        if repeats and count % _LOOK_EVERY == 0 and ends_in_repeats(self.tokens, repeats):
            return "loop"
        return None


Take = Callable[[int], Sequence[DecodeRequest]]
"""Gives up to so many requests that have not been given before; fewer only if no more will come."""


def take_from(requests: Sequence[DecodeRequest]) -> Take:
    """Give the requests of a sequence, in its order."""
    waiting = deque(requests)
    return lambda most: [waiting.popleft() for _ in range(min(most, len(waiting)))]


@torch.inference_mode()
def decode(
    model: Any,
    requests: Sequence[DecodeRequest] | Take,
    sample: SampleConfig,
    stop_ids: Sequence[int],
    written: Callable[[int], None] = lambda tokens: None,
) -> Iterator[DecodeResult]:
    """Answer requests, and yield each answer as it ends. Their order affects only the speed.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        requests: Put those with long answers together: a step costs as much as its longest answer.
        sample: ``batch_size`` answers are written at once.
        stop_ids: An answer ends before the first of these.
        written: Called after each step with its number of tokens.

    Raises:
        LwexpError: If the architecture attends in a way that is not computed here, or its logits are not finite.
    """
    take: Take = requests if callable(requests) else take_from(requests)
    with slot_attention(model):
        yield from _decode(model, take, sample, stop_ids, written)


def _decode(
    model: Any, take: Take, sample: SampleConfig, stop_ids: Sequence[int], written: Callable[[int], None]
) -> Iterator[DecodeResult]:
    decoder = Decoder(model, sample.batch_size, stop_ids)
    tokens: dict[str, list[int]] = {}
    may_come = True
    while may_come or decoder.is_busy:
        # Fill a quarter of the slots at a time, because reading one prompt takes as long as a step of the batch.
        if may_come and (decoder.free >= sample.batch_size / 4 or not decoder.is_busy):
            new = take(decoder.free)
            may_come = len(new) == decoder.free
            if new:
                decoder.admit(new, sample)
                tokens |= {request.id: [] for request in new}
        given = decoder.choose() if decoder.is_busy else []
        for id, token, finish_reason in given:
            if token is not None:
                tokens[id].append(token)
            if finish_reason is not None:
                yield DecodeResult(id, tokens.pop(id), finish_reason)
        written(sum(token is not None for _, token, _ in given))
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
        self._seen = SeenTokens(slots, model.config.vocab_size, model.device)
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
        prompts = [request.tokens for request in new]
        self._seen.admit(len(self._rows), prompts, sample.repetition_penalty)
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
            ended = row.ended()
            given.append(DecodedToken(row.request.id, token, ended))
            if ended:
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


def _next_tokens(logits: Logits, rows: Sequence[_Row], seen: SeenTokens) -> list[int]:
    logits = seen.penalise(logits)
    draws = torch.tensor([row.draws.random() for row in rows], dtype=torch.float64)
    settings = [(row.sample.temperature, row.sample.top_p, row.sample.top_k) for row in rows]
    chosen = torch.empty(len(rows), dtype=torch.long, device=logits.device)
    for temperature, top_p, top_k in dict.fromkeys(settings):
        same = [slot for slot, setting in enumerate(settings) if setting == (temperature, top_p, top_k)]
        part = slice(None) if len(same) == len(rows) else same
        chosen[part] = choose_tokens(logits[part], draws[part], temperature=temperature, top_p=top_p, top_k=top_k)
    if not torch.stack(logits.aminmax(dim=-1)).isfinite().all():  # NaN passes through aminmax
        raise LwexpError(
            "the model gives logits that are not finite; its weights are broken, or too large for their number format: "
            "export or copy it again"
        )
    seen.add(chosen)
    tokens: list[int] = chosen.tolist()
    return tokens
