"""Schema of the evaluation side: who answers, decoding, and what is measured beside the scores.

Benches are ``lwexp.extend.bench`` and lwexp/benches.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lwexp.extend import CHAT_FORMATS, ChatFormat, Key, OneOf, Strict
from lwexp.extend.endpoint import Limits, Price, require_plain_address


class CheckpointEngine(Strict):
    """Answers are decoded in this process, through transformers."""

    kind: Literal["checkpoint"]
    path: str | None = None
    """A model folder in Hugging Face format instead of a training run's; null takes ``run``."""
    chat: Annotated[ChatFormat | None, OneOf(CHAT_FORMATS, by_name=True)] = None
    """Chat format of a folder that lwexp has not saved; null takes the saved format, or the model's own template."""


class ApiEngine(Strict):
    """A model behind an API: an OpenAI-compatible server, or any model that litellm reaches."""

    kind: Literal["api"]
    model: str
    """litellm's name, such as openai/gpt-4o or hosted_vllm/<the name the server gives it>."""
    base_url: str | None = None
    """The server, such as http://127.0.0.1:8000/v1; null for the provider's own."""
    api_key_env: str | None = None
    """The NAME of the environment variable that holds the key. Never the key."""
    supports_top_k: Annotated[bool, Key(formerly="sends_top_k")] = False
    """Send sample.top_k and sample.repetition_penalty (vLLM and SGLang accept them, most providers refuse them)."""
    price: Price | None = None
    limits: Annotated[Limits, Key("speed")] = Field(default_factory=Limits)

    @model_validator(mode="after")
    def address_holds_no_key(self) -> ApiEngine:
        """Refuse anything in the address but scheme, host, port and path."""
        require_plain_address(self.base_url, "engine")
        return self


class ServerEngine(Strict):
    """A vLLM server that lwexp starts on the model's folder, checks, and stops at the end."""

    kind: Literal["server"]
    path: str | None = None
    """A model folder in Hugging Face format instead of a training run's; null takes ``run``."""
    chat: Annotated[ChatFormat | None, OneOf(CHAT_FORMATS, by_name=True)] = None
    """Chat format of a folder that lwexp has not saved; null takes the saved format, or the model's own template."""
    command: Annotated[str | None, Key("speed")] = None
    """Starts the server, such as "/venvs/vllm/bin/python -m vllm.entrypoints.openai.api_server"; its environment need
    not be lwexp's. --model, --port and the like are appended. null takes lwexp's own interpreter."""
    dtype: str = "auto"
    """Precision of the weights: auto, bfloat16, float16 or float32."""
    tensor_parallel: Annotated[int, Key("speed")] = Field(1, ge=1)
    """Devices that share one copy of the model."""
    data_parallel: Annotated[int, Key("speed")] = Field(1, ge=1)
    """Copies of the model."""
    memory_share: Annotated[float | None, Key("speed")] = Field(None, gt=0, le=1)
    """Share of a GPU's memory that the server takes; null leaves it to the server."""
    options: Annotated[str, Key(neutral="")] = ""
    """More arguments of the server, such as "--enforce-eager"."""
    start_seconds: Annotated[float, Key("speed")] = Field(1800.0, gt=0)
    """Time to load the model; a server that is not healthy by then is stopped."""
    limits: Annotated[Limits, Key("speed")] = Field(default_factory=Limits)

    @field_validator("command", "options")
    @classmethod
    def quotes_are_closed(cls, text: str | None, info: ValidationInfo) -> str | None:
        try:
            shlex.split(text or "")
        except ValueError as error:
            raise ValueError(f"engine.{info.field_name}={text}: {error}; close each quote") from None
        return text


Engine = Annotated[CheckpointEngine | ServerEngine | ApiEngine, Field(discriminator="kind")]


class SampleConfig(Strict):
    """How answers are decoded; every value is stored with each response."""

    temperature: float = Field(ge=0)
    """Sampling temperature; 0 takes the most likely token."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling: the probability mass that tokens are drawn from; 1 draws from all."""
    top_k: int = Field(0, ge=0)
    """0 switches it off."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Divides the scores of tokens that have occurred; 1 is off."""
    max_new_tokens: int = Field(ge=1)
    """Longest answer, in tokens; an answer that reaches it counts as cut."""
    repeats: int = Field(1, ge=1)
    """Answers per prompt, each with its own seed."""
    batch_size: Annotated[int, Key("speed")] = Field(32, ge=1)
    """Maximum number of prompts decoded together; fewer if memory is too small."""
    plan_first: Annotated[bool, Key(formerly="after_plan")] = False
    """The model was trained to plan first (``plan_first`` of its data source): in answers
    that have a plan, keep only the text after it."""

    @model_validator(mode="after")
    def greedy_decoding_has_one_answer(self) -> SampleConfig:
        """Repeats of a greedy answer are copies, so their confidence interval would be meaningless."""
        if self.temperature == 0 and self.repeats > 1:
            raise ValueError("sample: temperature=0 gives equal repeats; set sample.repeats=1 or a temperature")
        return self


class ScoreConfig(Strict):
    """What is measured beside the bench's metrics."""

    segments: int = Field(5, ge=1, le=20)
    """Number of parts into which an answer is divided for all results that are shown by position."""
    pairwise: bool = True
    """With baseline_run=: also ask the judge which of the two answers is better, in both orders."""
