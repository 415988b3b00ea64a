"""What all systems are given: a model, the prompts of the miniature bench, and how to answer them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUM_PROMPTS = 64
QUICK_PROMPTS = 8
Answers = dict[str, list[int]]
"""Tokens by prompt id, without the stop token."""


@dataclass(frozen=True)
class Task:
    """A model and how much it is asked."""

    model: Path
    most: int  # tokens of an answer
    repeats: int  # answers to each prompt, in case workers
    rounds: int  # of case workers
    is_quick: bool

    def arguments(self) -> list[str]:
        """This task on the command line of a system's own process."""
        numbers = {"--most": self.most, "--repeats": self.repeats, "--rounds": self.rounds}
        words = [part for flag, value in numbers.items() for part in (flag, str(value))]
        return [str(self.model), *words, *(["--quick"] if self.is_quick else [])]

    def prompts(self) -> list[Any]:
        """Prompts of the miniature bench: four lengths, two languages."""
        from lwexp.benches.select import load_bench
        from lwexp.config import compose

        return load_bench(compose("experiment=miniature").bench)[: QUICK_PROMPTS if self.is_quick else NUM_PROMPTS]

    def sampling(self, **changes: Any) -> Any:
        """Greedy, all answers at once, unless ``changes`` say otherwise."""
        from lwexp.config import compose

        greedy = {"temperature": 0, "repeats": 1, "max_new_tokens": self.most, "batch_size": NUM_PROMPTS}
        return compose("experiment=miniature").sample.model_copy(update=greedy | changes)

    def encoded(self, engine: Any) -> dict[str, list[int]]:
        """Each prompt's tokens, in the order that sampling takes: long answers first."""
        from lwexp.sample.requests import SampleRequest, longest_first

        asked = longest_first(SampleRequest(prompt.id, prompt, 0) for prompt in self.prompts())
        return {request.id: engine._encode(request.prompt) for request in asked}

    def engine(self, number_format: str) -> Any:
        """lwexp's engine on one thread, with the weights in this format."""
        import torch

        from lwexp.sample.engine import TransformersEngine

        torch.set_num_threads(1)
        engine = TransformersEngine(self.model)
        engine.model.to(getattr(torch, number_format))
        return engine


def timed(work: Callable[[], Answers], cpu_seconds: Callable[[], float] = time.process_time) -> dict[str, Any]:
    """Answers, the number of their tokens, and the seconds that they took, by the clock and of CPU.

    Args:
        work: Gives the answers.
        cpu_seconds: What the processes that compute have used so far.
    """
    began, cpu = time.perf_counter(), cpu_seconds()
    answers = work()
    used = {"seconds": time.perf_counter() - began, "cpu_s": cpu_seconds() - cpu}
    return {"answers": answers, "tokens": sum(map(len, answers.values())), **used}


def until_stop(tokens: list[int], stops: list[int]) -> list[int]:
    """The tokens before the first stop."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in stops), len(tokens))]


def random_model(folder: Path) -> Path:
    """A Llama with random weights of a wide spread, so that every step has a clear winner.

    Its heads have 32 numbers, because vLLM knows none below that.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer

    tokenizer = train_tokenizer(["Write about tea and rivers in ten words.", "请写一篇关于茶的文章。"], 300, "llama31")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=1024, initializer_range=0.3, pad_token_id=0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder
