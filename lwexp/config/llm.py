"""Schema of the outside models: the teacher that writes and the judge that scores."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lwexp.extend import Key, Strict


class Price(Strict):
    """Dollars per million tokens; overrides litellm's offline price table."""

    input_per_mtok: float = Field(ge=0)
    output_per_mtok: float = Field(ge=0)


class Limits(Strict):
    """How hard a provider may be used. None of these can change an answer."""

    concurrency: int = Field(ge=1)
    """Calls in flight at once."""
    requests_per_minute: int | None = Field(ge=1)
    """Calls wait for their turn; null means no limit."""
    tokens_per_minute: int | None = Field(ge=1)
    """Prompt and answer together in any 60 seconds, a call counted at its longest until it is answered."""
    timeout_seconds: float = Field(gt=0)
    """Wall time of one call, enforced by us (litellm does not enforce it for every provider)."""
    max_attempts: int = Field(ge=1)
    """Tries of one call, the first included; only errors worth repeating are repeated."""
    first_pause_seconds: float = Field(gt=0)
    """Wait before the second try; doubles with each further one, less a random half at most. A provider's own
    Retry-After goes before it."""
    budget_usd: float | None = Field(gt=0)
    """The run stops before spending more; null means no cap."""


class Hosted(Strict):
    """Any model litellm can reach."""

    kind: Literal["litellm"]
    model: str
    """litellm's name, such as openai/gpt-4o-2024-08-06 or hosted_vllm/<name>."""
    base_url: str | None
    """An OpenAI-compatible server, such as http://127.0.0.1:8000/v1; null for the provider's own."""
    api_key_env: str | None
    """The NAME of the environment variable that holds the key. Never the key."""
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=1)
    price: Price | None
    limits: Annotated[Limits, Key("speed")]


class LiteLLMTeacher(Hosted):
    """Writes plans and paragraphs."""


class LiteLLMWriter(Hosted):
    """Answers a bench (engine=api); made from the engine and ``sample``, not from a file of its own."""

    extra_body: dict[str, float]
    """Sampling parameters outside OpenAI's, such as top_k; empty where the provider takes none."""


class Judging(Strict):
    """How a judge is asked, whoever it is."""

    prompt: str | None
    """A prompt file of yours with $INST$ and $RESPONSE$; null takes lwexp's own."""
    repeats: int = Field(ge=1)
    """Times each answer is judged; S_q is the mean, and how far they agree is reported."""
    segments: bool
    """Judge each of score.segments parts of an answer as well: that many more calls."""


class LiteLLMJudge(Hosted, Judging):
    """Is asked for six scores from 1 to 5."""


class OfflineTeacher(Strict):
    """The stand-in that needs no key: a seeded text grammar behind a litellm custom provider."""

    kind: Literal["offline"]
    model: Literal["offline/teacher"]
    paragraph_words: int = Field(ge=15)
    """Words it plans for a paragraph (real teachers are asked for 200 to 1,000)."""
    miss: float = Field(ge=0, lt=1)
    """Its plans add up to the requested length times 1 + u, u uniform in [-miss, +miss]."""
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=1)
    limits: Annotated[Limits, Key("speed")]


Teacher = Annotated[LiteLLMTeacher | OfflineTeacher, Field(discriminator="kind")]


class OfflineJudge(Judging):
    """A labelled heuristic behind the same client. Its S_q is never shown beside a real judge's."""

    kind: Literal["offline"]
    model: Literal["offline/judge"]
    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(gt=0, le=1)
    max_tokens: int = Field(ge=1)
    limits: Annotated[Limits, Key("speed")]

    @model_validator(mode="after")
    def repeats_differ(self) -> OfflineJudge:
        """It counts, so it always says the same."""
        if self.repeats > 1:
            raise ValueError("judge.repeats: the offline judge always says the same; set judge.repeats=1")
        return self


class NoJudge(Strict):
    """Lengths only: every response stays without an S_q, and tables say so."""

    kind: Literal["none"]


Judge = Annotated[LiteLLMJudge | OfflineJudge | NoJudge, Field(discriminator="kind")]
