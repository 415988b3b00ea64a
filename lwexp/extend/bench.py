"""Benches: prompts, which of them are asked, and the metrics that answers are scored by.

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
    """Base of every bench. What selects prompts is part of the run's identity and of headings."""

    kind: str
    name: str
    """Begins the ids of prompts that bring none."""
    version: str
    """Scores of different versions are never compared."""
    range: str | int | None = None
    """Required lengths: '[2000,4000)', 2k-4k (both ends in), 4k+, '<500', 1000; null for all."""
    language: Language | None = None
    """en or zh; null for both."""
    type: str | None = None
    """One type of the bench, such as 'News'; null for all."""
    subset: int | None = Field(default=None, ge=1)
    """Draw this many of the prompts that are left; null keeps all."""
    subset_seed: int = Field(default=0, ge=0)
    """Of that draw. Apart from the run's seed: models that are compared have to be asked the same."""
    counter: Literal["longwriter", "unicode"] = "longwriter"
    """longwriter counts as the paper does, oddities included; unicode counts segments of Unicode (UAX 29)."""
    ranges: tuple[WordRange, ...] = ()
    """Required lengths by which tables are divided; empty where no prompt asks for a length."""
    metrics: Annotated[tuple[Annotated[Metric, OneOf(METRICS, by_name=True)], ...] | None, Key(neutral=None)] = None
    """What answers are scored by, in the order of the tables; null takes those that belong to the bench."""

    default_metrics: ClassVar[tuple[str, ...]] = STANDARD
    """Kinds of the metrics that belong to the bench."""

    def prompts(self) -> list[Prompt]:
        """All prompts in order, before any selection. A prompt may ask for no length.

        Raises:
            LwexpError: If they cannot be had.
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
        """A range that cannot be read is a mistake on the command line, not an empty bench an hour later."""
        if value is not None:
            parse_range(value)
        return value

    @model_validator(mode="after")
    def metrics_fit_each_other(self) -> Bench:
        """Each comes once, a mean has its parts, and lengths have ranges."""
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
