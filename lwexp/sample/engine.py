"""Answers prompts with a model folder, through transformers."""

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers.utils.logging import disable_progress_bar

from lwexp.config.evaluate import SampleConfig
from lwexp.extend import ChatFormat
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.model_weights import check_model, load_weights
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import LwexpError, Message, Prompt
from lwexp.sample.decode import DecodeRequest, DecodeResult, Take, decode, take_from
from lwexp.sample.folder_check import MEMORY_SHARE, SMALL_MODEL, kv_numbers, refuse_beyond_positions
from lwexp.sample.requests import SampleRequest, SampleResult, expected_tokens, longest_first
from lwexp.text.plain import plural

_SPARE = 512  # tokens reserved for the shortest answers

log = logging.getLogger(__name__)


class TransformersEngine:
    """Holds a model and its tokenizer; the chat format is the one the tokenizer was saved with."""

    def __init__(self, folder: Path, chat: ChatFormat | str | None = None) -> None:
        """Load a folder in Hugging Face format, in its own precision on a GPU, in float32 or float64 on a CPU.

        Args:
            folder: With config.json, weights and tokenizer.
            chat: Chat format, for a tokenizer that lwexp has not saved; None takes the model's own template.

        Raises:
            LwexpError: If the folder has no complete model, or not the one that was exported, or its tokenizer has no
                chat format and no template.
        """
        if not (folder / "config.json").is_file():
            raise LwexpError(f"{folder} holds no model (config.json is missing); wanted a training run's export")
        if not sys.stderr.isatty():
            disable_progress_bar()  # of transformers, for its own loading
        check_model(folder)
        self.folder = folder
        self.tokenizer = load_tokenizer(folder, revision=None, chat=chat)
        self.chat = chat_of(self.tokenizer)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: Any = load_weights(
            folder,
            dtype="auto" if device == "cuda" else torch.float32,
            attn_implementation="sdpa",
            local_files_only=True,
        )
        self.model.to(device).eval()
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        self._is_small = device == "cpu" and weights < SMALL_MODEL
        if self._is_small:
            self.model.double()

    def answers(
        self,
        requests: Sequence[SampleRequest],
        sample: SampleConfig,
        *,
        written: Callable[[int], None] = lambda tokens: None,
    ) -> Iterator[SampleResult]:
        """Answer in any order, and yield each answer as it ends.

        Args:
            requests: In any order.
            sample: How answers are decoded.
            written: Called after each step with its number of tokens.

        Raises:
            LwexpError: If prompt and answer together might not fit the model's positions.
        """
        waiting = deque(longest_first(requests))
        yield from self.answers_taken(
            lambda most: [waiting.popleft() for _ in range(min(most, len(waiting)))],
            sample.model_copy(update={"batch_size": self.slots(requests, sample)}),
            written=written,
        )

    def answers_taken(
        self,
        take: Callable[[int], Sequence[SampleRequest]],
        sample: SampleConfig,
        *,
        written: Callable[[int], None] = lambda tokens: None,
    ) -> Iterator[SampleResult]:
        """As ``answers``, for requests that are only taken when there is a slot for them.

        Args:
            take: Gives up to so many requests; fewer only if no more will come.
            sample: ``batch_size`` answers are written at once.
            written: Called after each step with its number of tokens.
        """

        def encoded(most: int) -> list[DecodeRequest]:
            return [
                DecodeRequest(request.id, self._encode(request.prompt), seed=f"{request.seed}|{request.prompt.id}")
                for request in take(most)
            ]

        with self.threads():
            for done in self._decode(encoded, sample, written):
                text = self.tokenizer.decode(done.tokens, skip_special_tokens=True)
                # The chat format's line break after <|assistant|> is not part of the answer.
                yield SampleResult(done.id, text.strip(), done.finish_reason, num_tokens=len(done.tokens))

    def slots(self, requests: Sequence[SampleRequest], sample: SampleConfig, *, sharing: int = 1) -> int:
        """How many answers fit into memory at once, at most ``sample.batch_size``.

        Args:
            requests: Including the one with the longest prompt, and the one with the longest expected answer.
            sample: Gives the length of answers without a requested length.
            sharing: Number of processes on this device.

        Raises:
            LwexpError: If prompt and answer together might not fit the model's positions.
        """
        prompt = max(len(self._encode(request.prompt)) for request in requests)
        positions = int(self.model.config.max_position_embeddings)
        refuse_beyond_positions(self.folder, prompt, sample.max_new_tokens, positions)
        answer = max(_SPARE, *(expected_tokens(request.prompt, sample) for request in requests))
        longest = prompt + min(sample.max_new_tokens, answer)
        return fitting_batch_size(self.model, longest, at_most=sample.batch_size, sharing=sharing)

    def _decode(self, take: Take, sample: SampleConfig, written: Callable[[int], None]) -> Iterator[DecodeResult]:
        """Decode; if memory runs out, continue with half as many at once. Unfinished answers start over.

        Raises:
            LwexpError: If not even one answer at a time fits.
        """
        begun: dict[str, DecodeRequest] = {}
        stops = self.chat.stop_ids(self.tokenizer)
        while True:
            again = take_from(list(begun.values()))

            def begin(most: int, again: Take = again) -> list[DecodeRequest]:
                new = list(again(most))
                new += take(most - len(new)) if len(new) < most else ()
                begun.update((request.id, request) for request in new)
                return new

            try:
                for done in decode(self.model, begin, sample, stops, written):
                    del begun[done.id]
                    yield done
                return
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if sample.batch_size == 1:
                    raise LwexpError(
                        f"{self.folder}: one answer at a time does not fit into memory; lower sample.max_new_tokens="
                        f"{sample.max_new_tokens:,}, or serve the model with vLLM on more devices (engine=vllm)"
                    ) from None
                sample = sample.model_copy(update={"batch_size": sample.batch_size // 2})
                log.warning("memory ran out; %s at a time from here on", plural(sample.batch_size, "answer"))
            torch.cuda.empty_cache()

    def _encode(self, prompt: Prompt) -> list[int]:
        ids: list[int] = encode_prompt(self.tokenizer, self.chat, [Message(role="user", content=prompt.text)]).tolist()
        return ids

    @contextmanager
    def threads(self) -> Iterator[None]:
        """One thread for a small model; the previous number is restored afterwards."""
        before = torch.get_num_threads()
        if self._is_small:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of a GPU or (where torch raises a plain RuntimeError) of the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def bytes_a_token(model: Any) -> int:
    """Bytes that the keys and values of one position need in all layers.

    GLM-4-9B in bf16: 40 layers x 2 x 2 heads x 128 x 2 bytes = 40,960. Llama-3.1-8B: 32 x 2 x 8 x 128 x 2 = 131,072.
    """
    return kv_numbers(model.config) * int(next(model.parameters()).element_size())


def fitting_batch_size(model: Any, tokens: int, *, at_most: int, sharing: int = 1) -> int:
    """How many answers to decode at once, given the memory free now; at least 1.

    Args:
        model: Already on its device.
        tokens: Positions of the longest prompt plus the longest expected answer.
        at_most: ``sample.batch_size``.
        sharing: Number of processes among which the memory is divided.
    """
    device = next(model.parameters()).device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    each = bytes_a_token(model) * tokens
    slots = max(1, min(at_most, int(free * MEMORY_SHARE / sharing / each)))
    if slots < at_most:
        log.info(
            "%s at a time instead of %d: %.1f GiB are free, and one of %d tokens takes %.2f GiB",
            plural(slots, "answer"), at_most, free / 2**30, tokens, each / 2**30,
        )  # fmt: skip
    return slots
