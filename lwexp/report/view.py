"""A group of comparable models with everything computed that a page, a table or a file shows of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lwexp.pages.display import LANGUAGES
from lwexp.records import MetricInfo
from lwexp.report.findings import Findings, Row, find
from lwexp.report.load import Comparison, Group
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.trials import Sweep
from lwexp.report.tables import Cell, ScoredResponse, n_unscored, seeds
from lwexp.text.plain import one_line


class PartTable(NamedTuple):
    """A table of scores by some part of the bench. ``cells`` are the parts' titles with what each model got there."""

    heading: str
    first: str
    cells: list[tuple[str, list[tuple[Row, Cell]]]]
    note: str


@dataclass(frozen=True)
class GroupView:
    """One bench and judge: its models, and what was found."""

    group: Group
    rows: tuple[Row, ...]
    findings: Findings

    @property
    def judge_label(self) -> str:
        """Who gave the judged scores, and whether that is a stand-in."""
        if self.group.judge is None:
            return "not judged" if any(metric.needs_judge for metric in self.metrics) else "no judge needed"
        name = one_line(self.group.judge, 60)
        return f"stand-in judge {name}" if self.group.is_stand_in else f"judged by {name}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Sampling seeds of the repeats; where each answer has its own, the seeds of the runs."""
        sampled = {seed for row in self.rows for seed in seeds(row.evaluation.answers)}
        if None in sampled:
            sampled = {row.evaluation.node.manifest.seed for row in self.rows}
        return tuple(sorted(seed for seed in sampled if isinstance(seed, int)))

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
        ranges = [(self.range_title(label), cells) for label, cells in self._cells("by_range").items()]
        languages, types = (dict(sorted(self._cells(by).items())) for by in ("by_language", "by_type"))
        found = [
            PartTable("By required length", "Required words", ranges, brackets),
            PartTable(
                "By language", "Language", [(LANGUAGES.get(code, code), cells) for code, cells in languages.items()], ""
            ),
            PartTable("By type of prompt", "Type", list(types.items()), ""),
        ]
        return [table for table in found if table.cells]

    def _cells(self, by: str) -> dict[str, list[tuple[Row, Cell]]]:
        """Part of the bench -> the models that answered some of it, with their cells."""
        found: dict[str, list[tuple[Row, Cell]]] = {}
        for row in self.rows:
            for key, part in getattr(row.evaluation, by).items():
                if part.n:
                    found.setdefault(key, []).append((row, part))
        return found

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
        views.append(GroupView(group, rows, find(rows, group.metrics, comparison.nodes)))
    return views
