"""Answers prompts with a model folder, through transformers."""

import logging
import sys
from collections.abc import Iterator, Sequence
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
from lwexp.sample.decode import DecodeRequest, DecodeResult, decode
from lwexp.sample.folder_check import refuse_beyond_positions
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.text.plain import plural

# To estimate how many answers fit at first: English needs 1.3 to 1.5 tokens a word, Chinese less than 1 a character;
# the rest allows for answers longer than requested.
_TOKENS_A_WORD = 2
_SPARE = 512

# Share of the free memory for keys and values; the rest is for logits and attention's work space. A growing cache is
# copied, so it briefly exists twice.
_MEMORY_SHARE = 0.45

log = logging.getLogger(__name__)

# Below this many parameters a CPU decodes on one core and in float64. One core, because the matrices are too small to
# share: with 1M parameters beside another busy process, a step takes 3 ms with one thread, and 100 ms with two, which
# wait for each other. float64 takes 1.4 times as long, but an answer then does not depend on the others in its batch:
# in float32, 2 of 64 answers of 300 tokens changed with the batch size.
_SMALL_MODEL = 30_000_000


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
        self._is_small = device == "cpu" and weights < _SMALL_MODEL
        if self._is_small:
            self.model.double()

    def answers(self, requests: Sequence[SampleRequest], sample: SampleConfig) -> Iterator[SampleResult]:
        """Answer in any order, and yield each answer as it ends.

        Raises:
            LwexpError: If prompt and answer together might not fit the model's positions.
        """
        # Similar lengths together; the longest first, so that no single long answer remains at the end.
        ordered = sorted(requests, key=lambda request: -(request.prompt.required_words or 0))
        encoded = [
            DecodeRequest(request.id, self._encode(request.prompt), seed=f"{request.seed}|{request.prompt.id}")
            for request in ordered
        ]
        self._refuse_what_does_not_fit(encoded, sample)
        lengths = [_TOKENS_A_WORD * (request.prompt.required_words or sample.max_new_tokens) for request in requests]
        expected = max(*lengths, _SPARE)
        longest = max(len(request.tokens) for request in encoded) + min(sample.max_new_tokens, expected)
        slots = fitting_batch_size(self.model, longest, at_most=sample.batch_size)
        with self.threads():
            for done in self._decode(encoded, sample.model_copy(update={"batch_size": slots})):
                text = self.tokenizer.decode(done.tokens, skip_special_tokens=True)
                # The chat format's line break after <|assistant|> is not part of the answer.
                yield SampleResult(done.id, text.strip(), done.finish_reason)

    def _decode(self, encoded: Sequence[DecodeRequest], sample: SampleConfig) -> Iterator[DecodeResult]:
        """Decode; if memory runs out, continue with half as many at once. Unfinished answers start over.

        Raises:
            LwexpError: If not even one answer at a time fits.
        """
        waiting = {request.id: request for request in encoded}
        stops = self.chat.stop_ids(self.tokenizer)
        while waiting:
            try:
                for done in decode(self.model, list(waiting.values()), sample, stops):
                    del waiting[done.id]
                    yield done
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

    def _refuse_what_does_not_fit(self, encoded: Sequence[DecodeRequest], sample: SampleConfig) -> None:
        longest = max(len(request.tokens) for request in encoded)
        refuse_beyond_positions(
            self.folder, longest, sample.max_new_tokens, int(self.model.config.max_position_embeddings)
        )

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
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_hidden_layers * 2 * heads * head * next(model.parameters()).element_size())


def fitting_batch_size(model: Any, tokens: int, *, at_most: int) -> int:
    """How many answers to decode at once, given the memory free now; at least 1.

    Args:
        model: Already on its device.
        tokens: Positions of the longest prompt plus the longest expected answer.
        at_most: ``sample.batch_size``.
    """
    device = next(model.parameters()).device
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    each = bytes_a_token(model) * tokens
    slots = max(1, min(at_most, int(free * _MEMORY_SHARE / each)))
    if slots < at_most:
        log.info(
            "%s at a time instead of %d: %.1f GiB are free, and one of %d tokens takes %.2f GiB",
            plural(slots, "answer"), at_most, free / 2**30, tokens, each / 2**30,
        )  # fmt: skip
    return slots
