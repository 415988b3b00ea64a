"""Reads the body of a chat completion request. Every accepted field is honoured; any other is refused by name."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Message, turn_problem
from lwexp.text.encodable import encodable

_SEED_BITS = 48
_GREEDY_BELOW = 1e-5


class ChatRequest(NamedTuple):
    """A request for one answer."""

    model: str
    messages: list[Message]
    sample: SampleConfig
    """``max_new_tokens`` is 1 where ``has_limit`` is False."""
    has_limit: bool
    """False: write until the model stops or its positions are full."""
    seed: int
    stops: tuple[str, ...]
    """The answer ends before the first of these."""
    stream: bool
    with_usage: bool
    """In a stream: count tokens in a last chunk."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: Literal["text"]
    text: str


class _Turn(BaseModel):
    model_config = ConfigDict(extra="ignore")  # name, refusal and the like come back from earlier answers
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    tool_calls: list[Any] | None = Field(None, max_length=0)

    def message(self) -> Message:
        parts = self.content if isinstance(self.content, list) else [_Part(type="text", text=self.content)]
        return Message(
            role="system" if self.role == "developer" else self.role,
            content=encodable("".join(part.text for part in parts)).value,
        )


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class _TextFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    model: str
    messages: list[_Turn] = Field(min_length=1)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    # A tiny penalty makes logits infinite.
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    # Accepted only with the value that changes nothing.
    n: Literal[1] | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: dict[str, float] | None = Field(None, max_length=0)
    logprobs: Literal[False] | None = None
    tools: list[Any] | None = Field(None, max_length=0)
    tool_choice: Literal["none", "auto"] | None = None
    response_format: _TextFormat | None = None
    # Labels for the caller's own use.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None


def read_request(body: Any) -> ChatRequest:
    """Check a request's body.

    Raises:
        LwexpError: Naming the field that cannot be honoured.
    """
    try:
        asked = _Body.model_validate(body)
    except ValidationError as error:
        raise LwexpError(_first_problem(error)) from None
    messages = _joined([turn.message() for turn in asked.messages])
    if problem := turn_problem(messages, last="user"):
        raise LwexpError(f"messages: {problem}")
    limit = asked.max_completion_tokens or asked.max_tokens
    sample = SampleConfig(
        temperature=_temperature(asked.temperature),
        top_p=asked.top_p or 1.0,
        top_k=max(0, asked.top_k or 0),
        repetition_penalty=asked.repetition_penalty or 1.0,
        max_new_tokens=limit or 1,
        repeats=1, batch_size=1, plan_first=False,
    )  # fmt: skip
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    return ChatRequest(
        model=asked.model,
        messages=messages,
        sample=sample,
        has_limit=limit is not None,
        seed=secrets.randbits(_SEED_BITS) if asked.seed is None else asked.seed,
        stops=tuple(stop for stop in stops if stop),
        stream=bool(asked.stream),
        with_usage=asked.stream_options is not None and asked.stream_options.include_usage,
    )


def _temperature(asked: float | None) -> float:
    """A tiny temperature overflows; it means greedy."""
    value = 1.0 if asked is None else asked
    return 0.0 if value < _GREEDY_BELOW else value


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Several system messages at the start become one, as chat templates know only one."""
    leading = next((place for place, message in enumerate(messages) if message.role != "system"), len(messages))
    if leading < 2:
        return list(messages)
    text = "\n\n".join(message.content for message in messages[:leading])
    return [Message(role="system", content=text), *messages[leading:]]


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[_Part]"))
    if first["type"] == "extra_forbidden":
        return f"{place}: this server does not know the field; leave it out"
    return f"{place}: got {first['input']!r:.80}; correct it: {first['msg'].lower()}"
