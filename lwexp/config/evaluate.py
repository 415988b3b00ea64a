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
    """The model of a training run or of a folder, decoded on this machine."""

    kind: Literal["checkpoint"]
    path: str | None = None
    """A model folder in Hugging Face format instead of a training run's; null takes ``run``."""
    chat: Annotated[ChatFormat | None, OneOf(CHAT_FORMATS, by_name=True)] = None
    """Chat format of a folder that lwexp has not saved; null takes the saved format, or the model's own template."""
    decoder: Annotated[Literal["auto", "transformers"], Key("speed", neutral="auto")] = "auto"
    """auto: vLLM (as engine=vllm) where it is installed beside lwexp, there is a GPU and the model is not small, else
    transformers in this process, which ``transformers`` always takes. A run that has begun keeps its program."""
    workers: Annotated[int | None, Key("speed", neutral=None)] = Field(None, ge=1)
    """Processes that share the prompts; each decodes ``sample.batch_size`` answers at once. null takes one for each
    GPU; on a CPU one for each core if the model is small and there is enough to write, else 1."""


class ApiEngine(Strict):
    """A model behind an API: an OpenAI-compatible server, or any model that litellm reaches."""

    kind: Literal["api"]
    model: str
    """litellm's name, such as openai/gpt-4o or hosted_vllm/<the name the server gives it>."""
    base_url: str | None = None
    """The server, such as http://127.0.0.1:8000/v1; null for the provider's own."""
    api_key_env: Annotated[str | None, Key("label", still_in_ids=True)] = None
    """The NAME of the environment variable that holds the key. Never the key."""
    supports_top_k: Annotated[bool, Key(formerly="sends_top_k")] = False
    """Send sample.top_k and sample.repetition_penalty (vLLM and SGLang accept them, most providers refuse them)."""
    price: Annotated[Price | None, Key("speed", still_in_ids=True)] = None
    limits: Annotated[Limits, Key("speed")] = Field(default_factory=Limits)

    @model_validator(mode="after")
    def address_holds_no_key(self) -> ApiEngine:
        """Refuse anything in the address but scheme, host, port and path."""
        require_plain_address(self.base_url, "engine")
        return self


class ServerEngine(Strict):
    """vLLM or SGLang: a server that lwexp starts on the model's folder, or with ``base_url`` one of the user's."""

    kind: Literal["server"]
    server: Annotated[Literal["vllm", "sglang"], Key(neutral="vllm")] = "vllm"
    """The program to start."""
    base_url: Annotated[str | None, Key(neutral=None)] = None
    """A server of yours, such as http://127.0.0.1:8000/v1; null starts one on the model's folder."""
    model: Annotated[str | None, Key(neutral=None)] = None
    """The name that your server gives the model, such as hosted_vllm/longwriter (hosted_vllm/ may be left out)."""
    api_key_env: Annotated[str | None, Key("label", neutral=None, still_in_ids=True)] = None
    """The NAME of the environment variable that holds the key of your server. Never the key."""
    path: str | None = None
    """A model folder in Hugging Face format instead of a training run's; null takes ``run``."""
    chat: Annotated[ChatFormat | None, OneOf(CHAT_FORMATS, by_name=True)] = None
    """Chat format of a folder that lwexp has not saved; null takes the saved format, or the model's own template."""
    command: Annotated[str | None, Key("speed")] = None
    """Starts the server, such as "/venvs/vllm/bin/python -m vllm.entrypoints.openai.api_server"; its environment need
    not be lwexp's. --model, --port and the like are appended. null takes lwexp's own interpreter."""
    dtype: str = "auto"
    """Precision of the weights: auto, bfloat16, float16 or float32."""
    context: Annotated[int | None, Key(neutral=None)] = Field(None, ge=1)
    """Most tokens of a prompt and its answer together; null takes what the longest prompt and sample.max_new_tokens
    need, rounded up to a multiple of 1,024."""
    tensor_parallel: Annotated[int | None, Key("speed")] = Field(None, ge=1)
    """Devices that share one copy of the model; null takes as many as weights and one answer need."""
    data_parallel: Annotated[int | None, Key("speed")] = Field(None, ge=1)
    """Copies of the model; null takes as many as there are devices for."""
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

    @model_validator(mode="after")
    def keys_belong_to_one_kind_of_server(self) -> ServerEngine:
        """A key that nothing reads would be a false record of how the answers were made."""
        if self.base_url is None:
            for key in ("model", "api_key_env"):
                if getattr(self, key) is not None:
                    raise ValueError(
                        f"engine.{key} is for a server of yours; add engine.base_url=http://<host>:<port>/v1"
                    )
            return self
        if self.model is None:
            raise ValueError(
                f"engine.base_url={self.base_url} needs engine.model=<the name that the server gives the model; its "
                f"address /models lists them>"
            )
        for key in _OF_STARTED_SERVERS:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"engine.{key} is for a server that lwexp starts; give it to yours when you start it, or leave out "
                    f"engine.base_url"
                )
        return self

    def api(self) -> ApiEngine | None:
        """The user's server as a model behind an API; None if lwexp starts the server."""
        if self.base_url is None or self.model is None:
            return None
        return ApiEngine(
            kind="api", model=f"hosted_vllm/{self.model.removeprefix('hosted_vllm/')}", base_url=self.base_url,
            api_key_env=self.api_key_env, supports_top_k=True, price=FREE, limits=self.limits,
        )  # fmt: skip

    def identified(self) -> Strict:
        """The answers of a user's server depend on what an API's do, and such runs have the ids of API runs."""
        api = self.api()
        return self if api is None else api.model_copy(update={"price": None})


FREE = Price(input_per_mtok=0, output_per_mtok=0)
"""What calls to a server of one's own cost."""
_OF_STARTED_SERVERS = (
    "command", "dtype", "context", "tensor_parallel", "data_parallel", "memory_share", "options", "start_seconds",
)  # fmt: skip

Engine = Annotated[CheckpointEngine | ServerEngine | ApiEngine, Field(discriminator="kind")]


def api_of(engine: Engine) -> ApiEngine | None:
    """The API that answers; None if lwexp loads the model or starts its server."""
    return engine.api() if isinstance(engine, ServerEngine) else engine if isinstance(engine, ApiEngine) else None


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
    stop_after_repeats: Annotated[int, Key(neutral=0)] = Field(0, ge=0)
    """Stop an answer once it has repeated a passage this many times in a row, instead of letting it run to the limit.
    The answer keeps the repeats. 0 turns this off. Only ``engine=checkpoint`` can do it."""
    batch_size: Annotated[int, Key("speed")] = Field(32, ge=1)
    """Maximum number of prompts decoded together; fewer if memory is too small."""
    plan_first: Annotated[bool, Key(formerly="after_plan")] = False
    """The model was trained to plan first (``plan_first`` of its data source): in answers
    that have a plan, keep only the text after it."""

    @field_validator("stop_after_repeats")
    @classmethod
    def one_passage_is_no_loop(cls, repeats: int) -> int:
        if repeats == 1:
            raise ValueError("sample.stop_after_repeats=1 would stop every answer; set 2 or more, or 0 for never")
        return repeats

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
