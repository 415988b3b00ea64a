"""Models whose scores may be compared, and the values that pages, tables and files show for them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lwexp.pages.display import LANGUAGES, confidence, score
from lwexp.records import MetricInfo
from lwexp.report.aggregation import Cell, ScoredResponse, cell, n_unscored, seeds
from lwexp.report.cuts import cut_note
from lwexp.report.evaluations import Evaluation, all_metrics
from lwexp.report.findings import Findings, find
from lwexp.runs.artifacts import EvaluateResults
from lwexp.text.plain import one_line

_STAND_IN = "offline/"
_CHECKED = "quality"  # kind of the metric on which a judge is checked before it judges (lwexp.score.anchors)


class PartTable(NamedTuple):
    """A table of scores by some part of the bench. ``cells`` pairs each part's title with the models' cells."""

    heading: str
    first: str
    cells: list[tuple[str, list[tuple[Evaluation, Cell]]]]
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Evaluations with the same bench, version and judge."""

    bench: str
    judge: str | None
    evaluations: tuple[Evaluation, ...]

    @cached_property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return all_metrics(self.evaluations)

    @cached_property
    def findings(self) -> Findings:
        return find(self.evaluations, self.metrics)

    @property
    def silent(self) -> list[Evaluation]:
        """Models whose answers are all missing; the others are compared without them."""
        return [each for each in self.evaluations if not each.prompts]

    @cached_property
    def common(self) -> frozenset[str]:
        """Ids of the prompts that every model answered, of those that answered any."""
        answered = [each.prompts for each in self.evaluations if each.prompts]
        return frozenset.intersection(*answered) if answered else frozenset()

    @property
    def is_uneven(self) -> bool:
        """Whether some models answered prompts that others did not, so that their means are not comparable."""
        return any(each.prompts != self.common for each in self.evaluations if each.prompts)

    @cached_property
    def common_cells(self) -> list[tuple[Evaluation, Cell]]:
        """Each model on the prompts that every model answered."""
        return [
            (each, cell([a for a in each.answers if a.response.prompt_id in self.common], self.metrics))
            for each in self.evaluations
        ]

    @property
    def asked_prompts(self) -> int:
        """Prompts that any model was asked."""
        return len({answer.response.prompt_id for each in self.evaluations for answer in each.answers})

    @property
    def coverage(self) -> str:
        """What to know if not all models answered all prompts; empty if they did."""
        silent, others = self.silent, len(self.evaluations) - len(self.silent)
        none = f"Every answer of {' and '.join(each.named for each in silent)} is missing." if silent and others else ""
        if not self.is_uneven:
            return none
        if self.common:
            said = (
                f"{'The others' if silent else 'The models'} did not answer the same prompts. They are compared on the "
                f"{len(self.common):,} of {self.asked_prompts:,} prompts that all of them answered; other means are "
                "over each model's own answers."
            )
        else:
            whom = "all others" if silent else "all models"
            said = f"No prompt was answered by {whom}, so their means are not comparable."
        return f"{none} {said}".strip()

    @property
    def judge_check(self) -> str:
        """A sentence if the judge did not tell good texts from shuffled words; empty if it did or is not checked."""
        judged = [each for each in self.evaluations if each.judge is not None]
        unfit = [each.named for each in judged if each.is_judge_unfit]
        scores = [m.label for m in self.metrics if m.kind == _CHECKED or _CHECKED in m.of]
        if not unfit or not scores:
            return ""
        where = "" if len(unfit) == len(judged) else f" of {' and '.join(unfit)}"
        means = "means" if len(scores) == 1 else "mean"
        return (
            f"The judge {one_line(self.judge or '', 60)} did not tell good answers from the same words shuffled, so "
            f"{' and '.join(scores)}{where} {means} little."
        )

    @cached_property
    def cuts(self) -> str:
        """A sentence on models whose numbers change without loops and next turns; empty if none do."""
        return cut_note(self.evaluations)

    @property
    def templates(self) -> str:
        """A sentence on the chat templates that rendered the prompts; empty if no run recorded one."""
        found: dict[str, list[str]] = {}
        for each in self.evaluations:
            if (template := _template(each)) is not None:
                found.setdefault(template, []).append(each.label)
        is_one = len(found) == 1 and len(self.evaluations) == len(next(iter(found.values())))
        said = [name if is_one else f"{name} ({', '.join(labels)})" for name, labels in found.items()]
        return f"Chat template of the prompts: {'; '.join(said)}." if said else ""

    @property
    def volatility(self) -> str:
        """A sentence on how the length of repeated answers scatters; empty without repeats."""
        found = [
            f"{each.named} {score(value.mean)}%{confidence(value.interval)}"
            for each in self.evaluations
            if (value := each.total.volatility).mean is not None
        ]
        return f"Volatility of length from run to run: {'; '.join(found)}." if found else ""

    @property
    def is_stand_in(self) -> bool:
        """Whether judged scores come from the offline heuristic."""
        return (self.judge or "").startswith(_STAND_IN)

    @property
    def judge_label(self) -> str:
        """The judge of the judged scores, and whether it is a stand-in."""
        if self.judge is None:
            return "not judged" if any(metric.needs_judge for metric in self.metrics) else "no judge needed"
        name = one_line(self.judge, 60)
        return f"stand-in judge {name}" if self.is_stand_in else f"judged by {name}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Sampling seeds of the repeats; if each answer has its own, the seeds of the runs."""
        sampled = {seed for each in self.evaluations for seed in seeds(each.answers)}
        if None in sampled:
            sampled = {each.node.manifest.seed for each in self.evaluations}
        return tuple(sorted(seed for seed in sampled if isinstance(seed, int)))

    def range_title(self, label: str) -> str:
        """A range for readers: ``[4,000, 20,000] words``, or ``exactly 400 words``."""
        for part in (part for each in self.evaluations for part in each.ranges):
            if part.label == label:
                if part.low == part.high:
                    return f"exactly {part.low:,} words"
                return f"[{part.low:,}, {part.high:,}{']' if part.closed else ')'} words"
        return label

    @property
    def metric_heads(self) -> list[tuple[str, str]]:
        """Heads of the score columns, in the form the templates expect."""
        return [(metric.label, "number") for metric in self.metrics]

    @property
    def parts(self) -> list[PartTable]:
        """The tables below the first: by required length, language and type of prompt; an empty one is left out."""
        ranges = [(self.range_title(label), cells) for label, cells in self._cells("range")]
        languages = [(LANGUAGES.get(code, code), cells) for code, cells in sorted(self._cells("language"))]
        brackets = "A square bracket includes its end, a round one does not."
        common = [(f"{len(self.common):,} of {self.asked_prompts:,} prompts", self.common_cells)]
        found = [
            PartTable("On the prompts that all models answered", "Prompts", common if self.is_uneven else []),
            PartTable("By required length", "Required words", ranges, brackets),
            PartTable("By language", "Language", languages),
            PartTable("By type of prompt", "Type", sorted(self._cells("type"))),
        ]
        return [table for table in found if table.cells]

    def _cells(self, by: str) -> list[tuple[str, list[tuple[Evaluation, Cell]]]]:
        """Parts of the bench, each with the models that answered some of it and their cells."""
        found: dict[str, list[tuple[Evaluation, Cell]]] = {}
        for each in self.evaluations:
            for key, part in each.parts[by].items():
                if part.asked:
                    found.setdefault(key, []).append((each, part))
        return list(found.items())

    def label(self, name: str) -> str:
        return next((metric.label for metric in self.metrics if metric.name == name), name)

    def labels_of(self, *, judged: bool) -> str:
        """Labels of the judged or of the computed metrics, without those that average others."""
        return " and ".join(m.label for m in self.metrics if m.needs_judge is judged and not m.of)

    def scores_of(self, answer: ScoredResponse) -> list[tuple[MetricInfo, float | None]]:
        """The scores of one answer, without metrics that average others."""
        wanted = [m for m in self.metrics if not m.of and (self.judge is not None or not m.needs_judge)]
        return [(metric, answer.scores[metric.name]) for metric in wanted if metric.name in answer.scores]

    def unscored(self, part: Cell) -> int | None:
        """Answers without a judged score; None if a judge was wanted and there is none."""
        is_open = self.judge is None and any(metric.needs_judge for metric in self.metrics)
        return None if is_open else n_unscored(part, self.metrics)

    def unscored_reasons(self, evaluations: Sequence[Evaluation]) -> str:
        """``bad_json 7, time_out 2`` over the given models; empty if every answer is scored."""
        counts = Counter(answer.reason for each in evaluations for answer in each.answers if answer.reason)
        return ", ".join(f"{one_line(reason, 60)} {n:,}" for reason, n in counts.most_common())


def _template(evaluation: Evaluation) -> str | None:
    """The recorded chat template in words; None if the run recorded none."""
    results = evaluation.node.results(EvaluateResults)
    if results is None or results.template is None:
        return None
    kind, _, settings = one_line(results.template, 160).partition(", ")
    name = {"own": "the model's own", "server": "the server's"}.get(kind, kind)
    return f"{name} with {settings}" if settings else name
