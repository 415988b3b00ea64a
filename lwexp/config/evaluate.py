"""Schema of the evaluation side: bench, who answers, decoding, and what is measured beside the scores."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lwexp.config.base import Tree
from lwexp.extend import Key, Strict
from lwexp.extend.endpoint import Limits, Price
from lwexp.records import Language


class WordRange(Strict):
    """A range of required lengths: low <= words < high, or <= high where ``closed``."""

    low: int = Field(ge=0)
    high: int = Field(gt=0)
    closed: bool

    @property
    def label(self) -> str:
        """``[0,500)`` or ``[4000,20000]``."""
        return f"[{self.low},{self.high}{']' if self.closed else ')'}"

    def __contains__(self, words: int | None) -> bool:
        return words is not None and (self.low <= words < self.high or (self.closed and words == self.high))


_NO_LIMIT = 10**9
_RANGE = re.compile(
    r"(?P<open>[\[(])(?P<low>[^,]*),(?P<high>[^,]*)(?P<close>[\])])"
    r"|(?P<from>[^-<>=+]+)-(?P<to>[^-<>=+]+)"
    r"|(?P<least>[^-<>=+]+)\+"
    r"|(?P<sign><=?|>=?)(?P<bound>[^-<>=+]+)"
    r"|(?P<exactly>[^-<>=+]+)"
)


def parse_range(value: str | int) -> WordRange:
    """Read a range of required lengths; ``k`` means thousand.

    Example:
        ``[2000,4000)``, ``2k-4k`` (both ends in), ``4k+``, ``<500``, ``>=500``, ``1000``

    Raises:
        ValueError: If it is none of these, or no length lies in it.
    """
    text = str(value)
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"bench.range: {text!r} is not a range; write '[2000,4000)', 2k-4k, 4k+, '<500' or 1000")
    part = match.groupdict()
    if part["open"]:
        low = _words(part["low"], text) + (part["open"] == "(")
        high, closed = _words(part["high"], text), part["close"] == "]"
    elif part["from"]:
        low, high, closed = _words(part["from"], text), _words(part["to"], text), True
    elif part["least"]:
        low, high, closed = _words(part["least"], text), _NO_LIMIT, True
    elif part["exactly"]:
        low = high = _words(part["exactly"], text)
        closed = True
    else:
        bound, upper = _words(part["bound"], text), part["sign"].startswith("<")
        low = 0 if upper else bound + (part["sign"] == ">")
        high, closed = (bound, part["sign"] == "<=") if upper else (_NO_LIMIT, True)
    if high < low or (high == low and not closed) or high == 0:
        raise ValueError(f"bench.range: no required length lies in {text!r}")
    return WordRange(low=low, high=high, closed=closed)


def _words(number: str, text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(k?)", number, re.IGNORECASE)
    if match is None:
        raise ValueError(f"bench.range: {number!r} in {text!r} is not a number of words; write 500, 2k or 2.5k")
    return round(float(match[1]) * (1000 if match[2] else 1))


class Selection(Strict):
    """Which prompts of a bench are asked, and how words are counted. Part of the run's identity and of headings."""

    range: str | int | None
    """Required lengths: '[2000,4000)', 2k-4k (both ends in), 4k+, '<500', 1000; null for all."""
    language: Language | None
    """en or zh; null for both."""
    type: str | None
    """One type of the bench, such as 'News'; null for all."""
    subset: int | None = Field(ge=1)
    """Draw this many of the prompts that are left; null keeps all."""
    subset_seed: int = Field(ge=0)
    """Of that draw. Apart from the run's seed: models that are compared have to be asked the same."""
    counter: Literal["longwriter", "unicode"]
    """longwriter counts as the paper does, oddities included; unicode counts segments of Unicode (UAX 29)."""

    @field_validator("range")
    @classmethod
    def range_can_be_read(cls, value: str | int | None) -> str | int | None:
        """A range that cannot be read is a mistake on the command line, not an empty bench an hour later."""
        if value is not None:
            parse_range(value)
        return value


class RulerBench(Selection):
    """Topics x required lengths x languages, made on the spot from the offline topics."""

    kind: Literal["ruler"]
    name: str
    version: str
    """Scores of different versions are never compared."""
    required_words: tuple[int, ...] = Field(min_length=1)
    topics: int = Field(ge=1, le=8)
    languages: tuple[Language, ...] = Field(min_length=1)
    ranges: tuple[WordRange, ...] = Field(min_length=1)


class FileBench(Selection):
    """JSONL with prompt, length and, if there, type, id and language, as THUDM/LongWriter publishes it."""

    kind: Literal["file"]
    name: str
    """Begins the ids of prompts that bring none."""
    version: str
    path: str
    """The file, a folder that holds ``filename``, or a data set on the Hugging Face hub that does: owner/name."""
    filename: str
    """The file's name, for a folder or a hub data set."""
    english: str | None
    """File beside it that holds the English prompts again: what it lacks is Chinese. Null: by the letters."""
    sha256: str | None
    """Of the file; another file is refused. Null takes any."""
    revision: str | None
    """Hub commit; null for the newest."""
    ranges: tuple[WordRange, ...] = Field(min_length=1)


Bench = Annotated[RulerBench | FileBench, Field(discriminator="kind")]


class CheckpointEngine(Strict):
    """Our own decoding through transformers."""

    kind: Literal["checkpoint"]
    path: str | None
    """A model folder in Hugging Face format instead of a training run's; null takes ``run``."""
    chat: str | None
    """Chat format of a folder that no run of ours has saved; null takes the saved one."""


class ApiEngine(Strict):
    """A model behind an API: an OpenAI-compatible server, or any model that litellm reaches."""

    kind: Literal["api"]
    model: str
    """litellm's name, such as openai/gpt-4o or hosted_vllm/<the name the server gives it>."""
    base_url: str | None
    """The server, such as http://127.0.0.1:8000/v1; null for the provider's own."""
    api_key_env: str | None
    """The NAME of the environment variable that holds the key. Never the key."""
    sends_top_k: bool
    """Send sample.top_k and sample.repetition_penalty (vLLM and SGLang take them, most providers refuse them)."""
    price: Price | None
    limits: Annotated[Limits, Key("speed")]


Engine = Annotated[CheckpointEngine | ApiEngine, Field(discriminator="kind")]


class SampleConfig(Strict):
    """How answers are decoded; every value is stored with each response."""

    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)
    """0 switches it off."""
    repetition_penalty: float = Field(gt=0)
    max_new_tokens: int = Field(ge=1)
    repeats: int = Field(ge=1)
    """Answers per prompt, each with its own seed."""
    batch_size: Annotated[int, Key("speed")] = Field(ge=1)
    """Most prompts decoded together; fewer where memory does not hold them."""
    after_plan: bool
    """The model was trained to plan first (with_plan): keep only what stands after the plan, in answers that have
    one."""

    @model_validator(mode="after")
    def greedy_decoding_has_one_answer(self) -> SampleConfig:
        """Repeats of a greedy answer are copies, and their interval would be a lie."""
        if self.temperature == 0 and self.repeats > 1:
            raise ValueError("sample: temperature=0 gives equal repeats; set sample.repeats=1 or a temperature")
        return self


class ScoreConfig(Strict):
    """What is measured beside S_l and S_q."""

    segments: int = Field(ge=1, le=20)
    """Parts of an answer for everything that is shown by position."""
    pairwise: bool
    """With against=: also ask the judge which of the two answers is better, in both orders."""


def bench_heading(bench: Tree) -> str:
    """Name, version, selection and word counter of a bench as it stands in a run's config.json.

    Only runs with the same heading are compared. Takes configs of older versions, where keys are missing.

    Example:
        ``longbench_write v3fcfdff, [2000,4000), en, 20 of them (seed 0)``
    """
    parts = [f"{bench.get('name', 'unknown bench')} v{bench.get('version', '?')}"]
    parts += [str(bench[key]) for key in ("range", "language", "type") if bench.get(key) is not None]
    if bench.get("subset") is not None:
        parts.append(f"{bench['subset']} of them (seed {bench.get('subset_seed', 0)})")
    if bench.get("counter", "longwriter") != "longwriter":
        parts.append(f"words counted by {bench['counter']}")
    return ", ".join(parts)
