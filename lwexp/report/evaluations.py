"""One evaluation: its answers with their verdicts, its configs, and the training run behind it.

Damaged lines, unfinished runs and verdicts without an answer do not stop a report; each becomes a note
that the page shows.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lwexp.extend.bench import bench_heading
from lwexp.extend.metric import standard_metrics
from lwexp.extend.word_range import WordRange
from lwexp.records import MetricInfo, Response, Verdict, first_problem
from lwexp.report.diagnostics import Diagnostics, read_diagnostics, rows_of
from lwexp.report.tables import Cell, ScoredResponse, cell, join, per_language, per_range, per_type
from lwexp.runs import Run
from lwexp.runs.artifacts import Tree
from lwexp.runs.summaries import MixtureSummary
from lwexp.text.plain import one_line

_NAME_LENGTH = 40


@dataclass(frozen=True)
class Evaluation:
    """One model's answers to one bench."""

    label: str
    node: Run
    train: Run | None
    config: Tree
    train_config: Tree
    answers: tuple[ScoredResponse, ...]
    metrics: tuple[MetricInfo, ...]
    """What it was scored by, in the order of the tables."""
    ranges: tuple[WordRange, ...]
    judge: str | None
    diagnostics: Diagnostics

    @cached_property
    def total(self) -> Cell:
        """Scores and lengths over the whole bench."""
        return cell(self.answers)

    @cached_property
    def by_range(self) -> dict[str, Cell]:
        return per_range(self.answers, self.ranges)

    @cached_property
    def by_language(self) -> dict[str, Cell]:
        return per_language(self.answers)

    @cached_property
    def by_type(self) -> dict[str, Cell]:
        return per_type(self.answers)

    @property
    def bench(self) -> str:
        """Name, version, selection and counter of the bench; only scores under one heading are compared."""
        return one_line(bench_heading(self.config.get("bench") or {}), 200)

    @property
    def objective(self) -> str | None:
        """sft or dpo; None for a model that was not trained here."""
        return self.train.labels.objective if self.train else None

    @property
    def max_train_words(self) -> int | None:
        """Longest answer the model was trained on, as the training run recorded it."""
        words = self.train.number("max_train_words") if self.train else None
        return None if words is None else int(words)

    @property
    def mixture(self) -> MixtureSummary | None:
        """What the training run drew; None where it did not record it."""
        return MixtureSummary.read(self.train.path) if self.train else None

    @property
    def asked(self) -> int:
        """Longest answer asked for; 0 where no prompt asks for a length."""
        return max((answer.response.required_words or 0 for answer in self.answers), default=0)


def all_metrics(evaluations: Iterable[Evaluation]) -> tuple[MetricInfo, ...]:
    """What at least one of them was scored by, each once, in the order of the tables."""
    return tuple({metric.name: metric for e in evaluations for metric in e.metrics}.values())


def known_sum(values: Iterable[float | None]) -> float | None:
    """Sum of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def read_evaluation(path: Path, nodes: Mapping[str, Run], notes: list[str]) -> Evaluation | None:
    """Read one evaluation run; None where it has no answers.

    Args:
        path: The run's directory.
        nodes: The lineage; it holds this run and its parents.
        notes: Gets a sentence for everything a reader of the report must know.
    """
    node = nodes[path.resolve().name]
    reason = one_line(node.manifest.reason or "", 300)
    standing = f"{node.id}: {node.status}{f' ({reason})' if reason else ''}"
    responses = rows_of(path / "responses.jsonl", Response, node.id, notes)
    verdicts = rows_of(path / "verdicts.jsonl", Verdict, node.id, notes)
    if not responses:
        notes.append(f"{standing}; it has no answers and is left out.")
        return None
    if node.status != "finished":
        notes.append(f"{standing}; its numbers are partial.")
    config = node.config_tree
    metrics = _metrics(path, node.id, notes)
    judged = [verdict for verdict in verdicts if any(m.kind == verdict.kind and m.needs_judge for m in metrics)]
    judge = _judge(config, judged, node.id, notes)
    joined = join(responses, verdicts, judge, metrics)
    if joined.n_repeated_ids:
        notes.append(f"{node.id}: {joined.n_repeated_ids:,} answers came twice; the later one counts.")
    if joined.n_orphan_verdicts:
        notes.append(f"{node.id}: {joined.n_orphan_verdicts:,} verdicts belong to no answer and are ignored.")
    train = next((n for n in (nodes[p] for p in node.parents) if n.stage in ("train", "missing")), None)
    label = train.name if train else (responses[0].model or node.name)
    train_config = train.config_tree if train else {}
    return Evaluation(
        label=one_line(label, _NAME_LENGTH) or node.id,
        node=node,
        train=train,
        config=config,
        train_config=train_config,
        answers=joined.answers,
        metrics=metrics,
        ranges=_ranges(config, node.id, notes),
        judge=judge,
        diagnostics=read_diagnostics(path, node.id, notes),
    )


def _ranges(config: Tree, run_id: str, notes: list[str]) -> tuple[WordRange, ...]:
    """The bench's ranges of required lengths; none, with a note, where the config does not say."""
    parts = (config.get("bench") or {}).get("ranges") or []
    try:
        return tuple(WordRange.model_validate(part) for part in parts)
    except ValidationError as error:
        notes.append(f"{run_id}: bench.ranges cannot be read ({first_problem(error)}); there is no table per range.")
        return ()


def _metrics(path: Path, run_id: str, notes: list[str]) -> tuple[MetricInfo, ...]:
    """What the run was scored by, as it recorded; the paper's metrics in runs that are older than such records."""
    file = path / "metrics.json"
    if not file.is_file():
        return standard_metrics()
    try:
        return tuple(TypeAdapter(list[MetricInfo]).validate_json(file.read_bytes()))
    except ValidationError as error:
        notes.append(f"{run_id}: metrics.json cannot be read ({first_problem(error)}); taken to be S_l, S_q and S-bar.")
        return standard_metrics()


def _judge(config: Tree, judged: Sequence[Verdict], run_id: str, notes: list[str]) -> str | None:
    """Who gave the judged scores: the configured judge, else whoever gave most of them."""
    scorers = Counter(verdict.scorer for verdict in judged)
    if not scorers:
        return None
    configured = (config.get("judge") or {}).get("model")
    judge = str(configured) if configured in scorers else scorers.most_common(1)[0][0]
    if len(scorers) > 1:
        others = ", ".join(one_line(scorer, _NAME_LENGTH) for scorer in scorers if scorer != judge)
        notes.append(f"{run_id}: scores by {others} are ignored beside those by {one_line(judge, 40)}.")
    return judge
