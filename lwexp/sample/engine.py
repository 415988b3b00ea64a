"""A model folder answers prompts, through transformers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from lwexp.config.evaluate import SampleConfig
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import LwexpError, Message, Prompt
from lwexp.sample.decode import Question, decode

# Below this many parameters a CPU decodes on one core, because the matrices are too small to share (1M parameters
# beside another busy process: 3 ms a step with one thread, 100 ms with two that wait for each other), and in
# float64, which costs 1.4 times as much and makes answers equal whatever is decoded beside them: in float32, 2 of
# 64 answers of 300 tokens changed with the batch size.
_SMALL_MODEL = 30_000_000


class Ask(NamedTuple):
    """One answer wanted."""

    id: str  # of the response
    prompt: Prompt
    seed: int  # stored with the response; with the prompt's id it seeds the answer's random numbers


class Answer(NamedTuple):
    """One answer given."""

    id: str
    text: str
    finish_reason: Literal["stop", "length"]


class TransformersEngine:
    """Holds a model and its tokenizer; the chat format is the one the tokenizer was saved with."""

    def __init__(self, folder: Path) -> None:
        """Load a folder in Hugging Face format, in its own precision on a GPU, in float32 or float64 on a CPU.

        Raises:
            LwexpError: If there is no model in the folder, or its tokenizer has no chat format of ours.
        """
        if not (folder / "config.json").is_file():
            raise LwexpError(f"{folder} holds no model (config.json is missing); wanted a training run's export")
        if not sys.stderr.isatty():
            disable_progress_bar()  # of transformers, for its own loading
        self.folder = folder
        self.tokenizer = load_tokenizer(folder, revision=None, chat=None)
        self.chat = chat_of(self.tokenizer)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto" if device == "cuda" else torch.float32,
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
        )
        self.model.to(device).eval()
        weights = sum(parameter.numel() for parameter in self.model.parameters())
        self._is_small = device == "cpu" and weights < _SMALL_MODEL
        if self._is_small:
            self.model.double()

    def answers(self, asks: Sequence[Ask], sample: SampleConfig) -> Iterator[Answer]:
        """Answer in any order, each as it ends.

        Raises:
            LwexpError: If prompt and answer together may not fit the model's positions.
        """
        # Equal lengths side by side; the longest first, so that no lone long answer is left for the end.
        ordered = sorted(asks, key=lambda ask: -ask.prompt.required_words)
        questions = [Question(ask.id, self._encode(ask.prompt), seed=f"{ask.seed}|{ask.prompt.id}") for ask in ordered]
        self._refuse_what_does_not_fit(questions, sample)
        with self._threads():
            for done in decode(self.model, questions, sample, self.chat.stop_ids(self.tokenizer)):
                text = self.tokenizer.decode(done.tokens, skip_special_tokens=True)
                # The format's own line break after <|assistant|> is not part of the answer.
                yield Answer(done.id, text.strip(), done.finish_reason)

    def _encode(self, prompt: Prompt) -> list[int]:
        ids: list[int] = encode_prompt(self.tokenizer, self.chat, [Message(role="user", content=prompt.text)]).tolist()
        return ids

    def _refuse_what_does_not_fit(self, questions: Sequence[Question], sample: SampleConfig) -> None:
        positions = int(self.model.config.max_position_embeddings)
        longest = max(len(question.tokens) for question in questions)
        if longest + sample.max_new_tokens > positions:
            raise LwexpError(
                f"sample.max_new_tokens={sample.max_new_tokens:,} after a prompt of {longest:,} tokens exceeds the "
                f"{positions:,} positions of {self.folder}; set sample.max_new_tokens={positions - longest} or less"
            )

    @contextmanager
    def _threads(self) -> Iterator[None]:
        """One thread for a small model, and as before afterwards."""
        before = torch.get_num_threads()
        if self._is_small:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)
