"""Schema of the evaluation side: bench and decoding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lwexp.config.base import Strict, Tree
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

    def __contains__(self, words: int) -> bool:
        return self.low <= words < self.high or (self.closed and words == self.high)


class RulerBench(Strict):
    """Topics x required lengths x languages, made on the spot from the offline topics."""

    kind: Literal["ruler"]
    name: str
    version: str
    """Scores of different versions are never compared."""
    required_words: tuple[int, ...] = Field(min_length=1)
    topics: int = Field(ge=1, le=8)
    languages: tuple[Language, ...] = Field(min_length=1)
    ranges: tuple[WordRange, ...] = Field(min_length=1)


class FileBench(Strict):
    """A JSONL file with prompt, length and (optionally) type, as THUDM/LongWriter publishes it."""

    kind: Literal["file"]
    name: str
    version: str
    path: str
    ranges: tuple[WordRange, ...] = Field(min_length=1)


Bench = Annotated[RulerBench | FileBench, Field(discriminator="kind")]


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
    batch_size: int = Field(ge=1)
    """Prompts decoded together."""

    @model_validator(mode="after")
    def greedy_decoding_has_one_answer(self) -> SampleConfig:
        """Repeats of a greedy answer are copies, and their interval would be a lie."""
        if self.temperature == 0 and self.repeats > 1:
            raise ValueError("sample: temperature=0 gives equal repeats; set sample.repeats=1 or a temperature")
        return self


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
