"""Endpoints: models that are asked over litellm. A teacher writes, a judge scores."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue, model_validator

from lwexp.extend.registry import Registry
from lwexp.extend.settings import Key, Strict


class Price(Strict):
    """Dollars per million tokens; overrides litellm's offline price table."""

    input_per_mtok: float = Field(ge=0)
    output_per_mtok: float = Field(ge=0)


class Limits(Strict):
    """How hard a provider may be used. None of these can change an answer."""

    concurrency: int = Field(16, ge=1)
    """Calls in flight at once."""
    requests_per_minute: int | None = Field(None, ge=1)
    """Calls wait for their turn; null means no limit."""
    tokens_per_minute: int | None = Field(None, ge=1)
    """Prompt and answer together in any 60 seconds, a call counted at its longest until it is answered."""
    timeout_seconds: float = Field(180.0, gt=0)
    """Wall time of one call, enforced by us (litellm does not enforce it for every provider)."""
    max_attempts: int = Field(6, ge=1)
    """Tries of one call, the first included; only errors worth repeating are repeated."""
    first_pause_seconds: float = Field(1.0, gt=0)
    """Wait before the second try; doubles with each further one, less a random half at most. A provider's own
    Retry-After goes before it."""
    budget_usd: float | None = Field(None, gt=0)
    """The run stops before spending more; null means no cap."""


class Endpoint(Strict):
    """Any model behind the client."""

    kind: str
    model: str
    """litellm's name, such as openai/gpt-4o-2024-08-06 or hosted_vllm/<name>."""
    temperature: float | None = Field(ge=0, le=2)
    """null sends none: for models that refuse every temperature but their own, such as gpt-5 and o3."""
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(ge=1)
    limits: Annotated[Limits, Key("speed")] = Field(default_factory=Limits)

    section: ClassVar[str] = "endpoint"
    """Config section that it comes from, for messages."""
    is_free: ClassVar[bool] = False
    """Answers cost nothing and come at once: no price, no staggered start, no waiting for the disk."""

    def parameters(self) -> dict[str, Any]:
        """Arguments for litellm besides the messages and the fields above. They are part of the ledger's key."""
        return {}

    def prepare(self, litellm: Any) -> None:
        """Called once before the first call: make a provider of your own known to litellm."""


_FIELDS = {"model", "temperature", "top_p", "max_tokens", "base_url", "api_base", "api_key"}
_OURS = {"messages", "seed", "n", "stream", "timeout", "num_retries", "max_retries", "response_format", "mock_response"}


class Hosted(Endpoint):
    """Any model litellm can reach."""

    base_url: str | None = None
    """An OpenAI-compatible server, such as http://127.0.0.1:8000/v1; null for the provider's own."""
    api_key_env: str | None = None
    """The NAME of the environment variable that holds the key. Never the key."""
    price: Price | None = None
    json_schema: Annotated[bool, Key(neutral=True)] = True
    """Whether yes-or-no questions and verdicts send a JSON schema to models that take one; false leaves it to the
    prompt. A server that refuses one is asked without it, too."""
    options: Annotated[dict[str, JsonValue], Key(neutral={})] = Field(default_factory=dict)
    """Handed on to litellm with every call: reasoning_effort, api_version, extra_headers, extra_body, ..."""

    @model_validator(mode="after")
    def options_are_not_settings(self) -> Hosted:
        """Two places for one thing could disagree, and some are the client's own business."""
        for name in self.options:
            if name in _FIELDS:
                setting = {"api_base": "base_url", "api_key": "api_key_env"}.get(name, name)
                raise ValueError(f"{self.section}.options.{name}: set {self.section}.{setting} instead")
            if name in _OURS:
                raise ValueError(f"{self.section}.options.{name}: is set by lwexp with each call; remove it")
        return self

    def parameters(self) -> dict[str, Any]:
        return {"base_url": self.base_url, **self.options}


class Teacher(Endpoint):
    """Writes plans and paragraphs, and answers whether an instruction needs a long answer."""

    section: ClassVar[str] = "teacher"

    @property
    def paragraph_length(self) -> int:
        """Words of a paragraph that it will probably plan, for estimates."""
        return 500  # what real teachers plan when told 200 to 1,000


class Judge(Strict):
    """Who scores answers; the kind ``none`` leaves them unscored."""

    kind: str


class AskedJudge(Endpoint, Judge):
    """A judge that is asked."""

    section: ClassVar[str] = "judge"

    prompt: str | None = None
    """A prompt file of yours with $INST$ and $RESPONSE$; null takes lwexp's own."""
    repeats: int = Field(1, ge=1)
    """Times each answer is judged; S_q is the mean, and how far they agree is reported."""
    segments: bool = False
    """Judge each of score.segments parts of an answer as well: that many more calls."""


_BUILTIN = ("lwexp.llm.endpoints.hosted", "lwexp.llm.endpoints.offline")
TEACHERS = Registry("teacher", Teacher, _BUILTIN)
JUDGES = Registry("judge", Judge, (*_BUILTIN, "lwexp.llm.endpoints.none"))
