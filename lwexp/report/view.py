"""A group of comparable models with everything computed that a page, a table or a file shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lwexp.pages.display import LANGUAGES
from lwexp.records import MetricInfo
from lwexp.report.findings import Findings, Row, find
from lwexp.report.load import Comparison, Group
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.trials import Sweep
from lwexp.report.tables import Cell, ScoredResponse, n_unscored, per_language, per_range, per_type, seeds
from lwexp.text.plain import one_line


class PartTable(NamedTuple):
    """A table of scores by some part of the bench. ``cells`` are the parts' titles with what each model got there."""

    heading: str
    first: str
    cells: list[tuple[str, list[tuple[Row, Cell]]]]
    note: str


@dataclass(frozen=True)
class GroupView:
    """One bench and judge: its models, what was found, and their cells by part of the bench."""

    group: Group
    rows: tuple[Row, ...]
    findings: Findings
    ranges: Mapping[str, Mapping[str, Cell]]
    languages: Mapping[str, Mapping[str, Cell]]
    types: Mapping[str, Mapping[str, Cell]]
    seeds: tuple[int, ...]

    @property
    def judge_label(self) -> str:
        """Who gave the judged scores, and whether that is a stand-in."""
        if self.group.judge is None:
            return "not judged" if any(metric.needs_judge for metric in self.metrics) else "no judge needed"
        name = one_line(self.group.judge, 60)
        return f"stand-in judge {name}" if self.group.is_stand_in else f"judged by {name}"

    @property
    def range_labels(self) -> list[str]:
        """Ranges that hold at least one answer of some model, in order."""
        found = (label for row in self.rows for label, part in self.ranges[row.label].items() if part.n)
        return list(dict.fromkeys(found))

    def range_title(self, label: str) -> str:
        """A range for readers: ``[4,000, 20,000] words``, or ``exactly 400 words``."""
        for part in (part for row in self.rows for part in row.evaluation.ranges):
            if part.label == label:
                if part.low == part.high:
                    return f"exactly {part.low:,} words"
                return f"[{part.low:,}, {part.high:,}{']' if part.closed else ')'} words"
        return label

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return self.group.metrics

    @property
    def metric_heads(self) -> list[tuple[str, str]]:
        return [(metric.label, "number") for metric in self.metrics]

    @property
    def parts(self) -> list[PartTable]:
        """The tables below the first: by required length, language and type of prompt; an empty one is left out."""
        brackets = "A square bracket includes its end, a round one does not."
        languages = sorted({code for parts in self.languages.values() for code in parts})
        types = sorted({name for parts in self.types.values() for name in parts})
        ranges = [(label, self.range_title(label)) for label in self.range_labels]
        found = [
            ("By required length", "Required words", self.ranges, ranges),
            ("By language", "Language", self.languages, [(code, LANGUAGES.get(code, code)) for code in languages]),
            ("By type of prompt", "Type", self.types, [(name, name) for name in types]),
        ]
        return [
            PartTable(heading, first, [(title, self._cells(cells, key)) for key, title in keys],
                      brackets if cells is self.ranges else "")
            for heading, first, cells, keys in found
            if keys
        ]  # fmt: skip

    def _cells(self, parts: Mapping[str, Mapping[str, Cell]], key: str) -> list[tuple[Row, Cell]]:
        found = [(row, parts[row.label].get(key)) for row in self.rows]
        return [(row, part) for row, part in found if part and part.n]

    def label(self, name: str) -> str:
        return next((metric.label for metric in self.metrics if metric.name == name), name)

    def share(self, metric: MetricInfo, value: float) -> float:
        """Where a score stands on its metric's scale, from 0 to 1."""
        low, high = metric.scale
        return (value - low) / (high - low)

    def labels_of(self, *, judged: bool) -> str:
        """Names of the scores that a judge gives, or of those that are measured; means of others left out."""
        return " and ".join(m.label for m in self.metrics if m.needs_judge is judged and not m.of)

    def scores_of(self, answer: ScoredResponse) -> list[tuple[MetricInfo, float | None]]:
        """What one answer scored, means of other scores left out."""
        wanted = [m for m in self.metrics if not m.of and (self.group.judge is not None or not m.needs_judge)]
        return [(metric, answer.scores[metric.name]) for metric in wanted if metric.name in answer.scores]

    def n_unscored(self, part: Cell) -> int:
        return n_unscored(part, self.metrics)

    def unscored(self, part: Cell) -> int | None:
        """The same for tables: None where a judge was wanted and there is none."""
        is_open = self.group.judge is None and any(metric.needs_judge for metric in self.metrics)
        return None if is_open else self.n_unscored(part)

    def unscored_reasons(self, rows: Sequence[Row]) -> str:
        """``bad_json 7, time_out 2`` over the given models; empty where none is."""
        counts = Counter(answer.reason for row in rows for answer in row.evaluation.answers if answer.reason)
        return ", ".join(f"{one_line(reason, 60)} {n:,}" for reason, n in counts.most_common())


class Report(NamedTuple):
    comparison: Comparison
    views: list[GroupView]
    sweep: Sweep | None
    result: SweepResult | None


def view_groups(comparison: Comparison) -> list[GroupView]:
    """Compute every group; a model has one place, and so one colour, in all of them."""
    ids = dict.fromkeys((e.train or e.node).id for e in comparison.evaluations)
    places = {run: place for place, run in enumerate(ids)}
    views = []
    for group in comparison.groups:
        rows = tuple(Row(each, places[(each.train or each.node).id]) for each in group.evaluations)
        views.append(
            GroupView(
                group=group,
                rows=rows,
                findings=find(rows, group.metrics, comparison.nodes),
                ranges={r.label: per_range(r.evaluation.answers, r.evaluation.ranges) for r in rows},
                languages={r.label: per_language(r.evaluation.answers) for r in rows},
                types={r.label: per_type(r.evaluation.answers) for r in rows},
                seeds=_seeds(rows),
            )
        )
    return views


def _seeds(rows: Sequence[Row]) -> tuple[int, ...]:
    """Sampling seeds of the repeats; where each answer has its own, the seeds of the runs."""
    sampled = {seed for row in rows for seed in seeds(row.evaluation.answers)}
    if None not in sampled:
        return tuple(sorted(seed for seed in sampled if seed is not None))
    runs = {row.evaluation.node.manifest.seed for row in rows}
    return tuple(sorted(seed for seed in runs if isinstance(seed, int)))
