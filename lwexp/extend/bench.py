"""Benches: prompts, the selection that is asked, and the metrics that score the answers.

@register
class Haiku(Bench):
    kind: Literal["haiku"] = "haiku"
    default_metrics = ("syllables",)

    def prompts(self) -> list[Prompt]:
        return [Prompt(id="haiku-1", text="Write a haiku.", language="en", type="poem", required_words=None)]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lwexp.extend.metric import METRICS, STANDARD, Metric, metrics_of
from lwexp.extend.registry import OneOf, Registry
from lwexp.extend.settings import Key, Strict
from lwexp.extend.word_range import WordRange, parse_range
from lwexp.records import Language, Prompt


class Bench(Strict):
    """Base of every bench. Settings that select prompts are part of the run's identity and of headings."""

    kind: str
    name: str
    """Prefix of the ids of prompts that have none."""
    version: str
    """Scores of different versions are never compared."""
    range: str | int | None = None
    """Required lengths: '[2000,4000)', 2k-4k (both ends included), 4k+, '<500', 1000; null for all."""
    language: Language | None = None
    """en or zh; null for both."""
    type: str | None = None
    """One type of the bench, such as 'News'; null for all."""
    subset: int | None = Field(default=None, ge=1)
    """Draw this many of the selected prompts; null keeps all."""
    subset_seed: int = Field(default=0, ge=0)
    """Seed of the draw for ``subset``, independent of the run's seed, so that compared models get the same prompts."""
    counter: Literal["longwriter", "unicode"] = "longwriter"
    """longwriter counts as the paper does, including its oddities; unicode counts segments of Unicode (UAX 29)."""
    ranges: tuple[WordRange, ...] = ()
    """Required lengths by which tables are divided; empty if no prompt asks for a length."""
    metrics: Annotated[tuple[Annotated[Metric, OneOf(METRICS, by_name=True)], ...] | None, Key(neutral=None)] = None
    """The metrics, in the order of the tables; null takes the bench's own."""

    default_metrics: ClassVar[tuple[str, ...]] = STANDARD
    """Kinds of the bench's own metrics."""

    def prompts(self) -> list[Prompt]:
        """All prompts in order, before any selection. A prompt may have no length.

        Raises:
            LwexpError: If they cannot be loaded.
        """
        raise NotImplementedError

    @property
    def scored_by(self) -> tuple[Metric, ...]:
        """The metrics."""
        return metrics_of(self.default_metrics) if self.metrics is None else self.metrics

    @property
    def needs_lengths(self) -> bool:
        """Whether a metric needs every prompt to ask for a length."""
        return any(metric.needs_length for metric in self.scored_by)

    @field_validator("range")
    @classmethod
    def range_can_be_read(cls, value: str | int | None) -> str | int | None:
        """Refuse an unreadable range on the command line, instead of finding an empty bench an hour later."""
        if value is not None:
            parse_range(value)
        return value

    @model_validator(mode="after")
    def metrics_fit_each_other(self) -> Bench:
        """Each metric occurs once, a mean has its parts, and a length metric has ranges."""
        kinds = [metric.kind for metric in self.scored_by]
        names = [metric.name for metric in self.scored_by]
        if not kinds or len(set(kinds)) < len(kinds) or len(set(names)) < len(names):
            raise ValueError(f"bench.metrics: wanted one metric or more, each once, got {', '.join(kinds) or 'none'}")
        for metric in self.scored_by:
            if missing := [kind for kind in metric.of if kind not in kinds]:
                raise ValueError(f"bench.metrics: {metric.kind} needs {' and '.join(missing)}; add it, or leave it out")
        if self.needs_lengths and not self.ranges:
            raise ValueError("bench.ranges: wanted one range or more of required lengths, by which tables are divided")
        return self


BENCHES: Registry[Bench] = Registry("bench", Bench, ("lwexp.benches",))


def bench_heading(bench: Mapping[str, Any]) -> str:
    """Name, version, selection and word counter of a bench, from a run's config.json.

    Only runs with the same heading are compared. Accepts configs of older versions, in which keys are missing.

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
