"""Endpoints: models called through litellm. A teacher writes, a judge scores."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, model_validator

from lwexp.extend.registry import Registry
from lwexp.extend.settings import Key, Strict
from lwexp.text.address import address_problem


class Price(Strict):
    """Dollars per million tokens; overrides litellm's offline price table."""

    input_per_mtok: float = Field(ge=0)
    """US dollars per million prompt tokens."""
    output_per_mtok: float = Field(ge=0)
    """US dollars per million answer tokens."""


class Limits(Strict):
    """Limits on the use of a provider. None of them changes an answer."""

    concurrency: int = Field(16, ge=1)
    """Calls in flight at once."""
    requests_per_minute: int | None = Field(None, ge=1)
    """Calls wait for their turn; null means no limit."""
    tokens_per_minute: int | None = Field(None, ge=1)
    """Prompt and answer tokens in any 60 seconds; a call in flight counts with its longest possible answer."""
    timeout_seconds: float = Field(180.0, gt=0)
    """Wall time of one call, enforced by lwexp (litellm does not enforce it for every provider)."""
    max_attempts: int = Field(6, ge=1)
    """Attempts of one call, including the first; only transient errors are retried."""
    initial_backoff_seconds: Annotated[float, Key("speed", formerly="first_pause_seconds")] = Field(1.0, gt=0)
    """Wait before the second attempt; doubles with each further one, minus a random part of up to half. A provider's
    Retry-After takes precedence."""
    budget_usd: float | None = Field(None, gt=0)
    """The run stops before spending more; null means no cap."""


class Endpoint(Strict):
    """Any model behind the client."""

    kind: str
    model: str
    """litellm's name, such as openai/gpt-4o-2024-08-06 or hosted_vllm/<name>."""
    temperature: float | None = Field(ge=0, le=2)
    """null sends none, for models that accept only their default temperature, such as gpt-5 and o3."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling: the probability mass that tokens are drawn from; 1 draws from all."""
    max_tokens: int = Field(ge=1)
    """Longest answer of one call, in tokens."""
    limits: Annotated[Limits, Key("speed")] = Field(default_factory=Limits)

    section: ClassVar[str] = "endpoint"
    """Its config section, for messages."""
    is_free: ClassVar[bool] = False
    """Whether answers are free and immediate: no price, no staggered start, no waiting for the disk."""

    def parameters(self) -> dict[str, Any]:
        """Arguments for litellm in addition to the messages and the fields above. They are part of the ledger's key."""
        return {}

    def without(self, parameter: str) -> str:
        """The override that leaves ``temperature`` or ``top_p`` to the provider."""
        return f"{self.section}.{parameter}={'null' if parameter == 'temperature' else '1.0'}"

    def prepare(self, litellm: Any) -> None:
        """Called once before the first call: register your own provider with litellm."""


def require_plain_address(address: str | None, section: str) -> None:
    """Refuse a ``base_url`` that could hold a key.

    Raises:
        ValueError: Says where a key and other parameters belong, and does not repeat the address.
    """
    if address is not None and (problem := address_problem(address)) is not None:
        raise ValueError(
            f"{section}.base_url: {problem}; a key goes into an environment variable and its name into "
            f"{section}.api_key_env"
        )


_FIELDS = {"model", "temperature", "top_p", "max_tokens", "base_url", "api_base", "api_key"}
_OURS = {"messages", "seed", "n", "stream", "timeout", "num_retries", "max_retries", "response_format", "mock_response"}


class Hosted(Endpoint):
    """Any model litellm can reach."""

    base_url: str | None = None
    """An OpenAI-compatible server, such as http://127.0.0.1:8000/v1; null for the provider's own."""
    api_key_env: Annotated[str | None, Key("label", still_in_ids=True)] = None
    """The NAME of the environment variable that holds the key. Never the key."""
    price: Annotated[Price | None, Key("speed", still_in_ids=True)] = None
    json_schema: Annotated[bool, Key(neutral=True)] = True
    """Whether yes-or-no questions, verdicts and plans (``generate.plan.form``) send a JSON schema to models that accept
    one; false leaves it to the prompt. If a server refuses the schema, it is asked again without one."""
    options: Annotated[dict[str, JsonValue], Key(neutral={})] = Field(default_factory=dict)
    """Passed to litellm with every call: reasoning_effort, api_version, extra_headers, extra_body, ..."""

    @model_validator(mode="after")
    def address_holds_no_key(self) -> Hosted:
        """Refuse anything in the address but scheme, host, port and path."""
        require_plain_address(self.base_url, self.section)
        return self

    @model_validator(mode="after")
    def options_are_not_settings(self) -> Hosted:
        """Refuse options that duplicate a setting or that the client sets itself."""
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
        """Expected words per paragraph of its plans, for estimates."""
        return 500  # what real teachers plan when asked for 200 to 1,000


class Judge(Strict):
    """Scores answers; the kind ``none`` leaves them unscored."""

    kind: str


class AskedJudge(Endpoint, Judge):
    """A judge that is a model behind the client."""

    section: ClassVar[str] = "judge"

    prompt: str | None = None
    """Your own prompt file with $INST$ and $RESPONSE$; null takes lwexp's."""
    repeats: int = Field(1, ge=1)
    """How often each answer is judged; S_q is the mean, and the agreement is reported."""
    segments: bool = False
    """Also judge each of the score.segments parts of an answer; needs that many more calls."""
    anchors: Annotated[Literal["warn", "refuse", "off"], Key("speed")] = "warn"
    """What to do about a judge that does not tell good answers from shuffled words: two of each per language are judged
    first. refuse stops before any answer is judged. Only S_q is checked, and never the offline judge."""


_BUILTIN = ("lwexp.llm.endpoints.hosted", "lwexp.llm.endpoints.offline")
TEACHERS = Registry("teacher", Teacher, _BUILTIN)
JUDGES = Registry("judge", Judge, (*_BUILTIN, "lwexp.llm.endpoints.none"))
