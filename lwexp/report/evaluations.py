"""One evaluation: its answers with their verdicts, and the training run behind it.

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
from lwexp.extend.preference_loss import PREFERENCE_LOSSES
from lwexp.extend.word_range import WordRange
from lwexp.pages.display import named, words
from lwexp.records import MetricInfo, Response, Verdict, first_problem
from lwexp.report.aggregation import Cell, ScoredResponse, cell, join, per_language, per_range, per_type
from lwexp.report.diagnostics import Diagnostics, read_diagnostics, rows_of
from lwexp.runs import Run
from lwexp.runs.artifacts import RESPONSES, VERDICTS, Tree
from lwexp.runs.summaries import JudgeFailures, MixtureSummary
from lwexp.text.plain import one_line, plural

_NAME_LENGTH = 80
# Names of files of answers that say nothing about the model, such as THUDM's models/<model>/pred.jsonl.
_PLAIN_FILES = {
    "answers", "generated_predictions", "generations", "output", "outputs", "pred", "prediction", "predictions",
    "preds", "response", "responses", "result", "results", "samples",
}  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """One model's answers to one bench.

    Attributes:
        label: The model's name in the report.
        node: The evaluation run.
        train: The training run; None for a model that was not trained here.
        started_from: Ids of the training runs that the model was trained from, nearest first; empty after SFT.
        metrics: The metrics of the evaluation, in the order of the tables.
        judge: The scorer of judged metrics.
        place: Position of the model in the report; decides its colour.
    """

    label: str
    node: Run
    train: Run | None
    started_from: tuple[str, ...]
    answers: tuple[ScoredResponse, ...]
    """In bench order, including missing answers."""
    metrics: tuple[MetricInfo, ...]
    ranges: tuple[WordRange, ...]
    judge: str | None
    judged: tuple[Verdict, ...]
    """Verdicts of judged metrics by any scorer."""
    diagnostics: Diagnostics
    place: int = 0

    @property
    def config(self) -> Tree:
        return self.node.config_tree

    @property
    def train_config(self) -> Tree:
        return self.train.config_tree if self.train else {}

    @property
    def model_id(self) -> str:
        return (self.train or self.node).id

    @property
    def named(self) -> str:
        """The label, marked as a name inside a sentence."""
        return named(self.label)

    @cached_property
    def total(self) -> Cell:
        """Scores and lengths over the whole bench."""
        return cell(self.answers, self.metrics)

    @cached_property
    def parts(self) -> dict[str, dict[str, Cell]]:
        """Scores and lengths per range, language and type of prompt."""
        return {
            "range": per_range(self.answers, self.ranges, self.metrics),
            "language": per_language(self.answers, self.metrics),
            "type": per_type(self.answers, self.metrics),
        }

    @property
    def bench(self) -> str:
        """Name, version, selection and counter of the bench; only scores with the same heading are compared."""
        return one_line(bench_heading(self.node.setting("bench", dict) or {}), 200)

    @property
    def method(self) -> str | None:
        """How the model was trained: SFT, DPO, DPO (hinge), or a plugin's objective or loss; None if not trained
        here."""
        if self.train is None or self.train.is_missing:
            return None
        objective = self.train.setting("objective", dict) or {}
        kind = self.train.labels.objective or "trained"
        name = {"sft": "SFT", "dpo": "DPO"}.get(kind, kind)
        loss = objective.get("loss", "sigmoid")
        loss = str(loss.get("kind") if isinstance(loss, dict) else loss)
        if loss == "sigmoid":
            return name
        known = dict(PREFERENCE_LOSSES.items()).get(loss)
        # A loss without a reference is not a form of DPO; if its plugin is not loaded, only the loss's name is known.
        return loss if known is None or (known.trains and not known.needs_reference) else f"{name} ({loss})"

    @property
    def max_train_words(self) -> int | None:
        """Longest answer the model was trained on, as the training run recorded it."""
        words = self.train.number("max_train_words") if self.train else None
        return None if words is None else int(words)

    @property
    def mixture(self) -> MixtureSummary | None:
        """What the training run drew; None if it did not record it."""
        return MixtureSummary.read(self.train.path) if self.train else None

    @cached_property
    def came(self) -> tuple[ScoredResponse, ...]:
        """The answers that are not missing."""
        return tuple(answer for answer in self.answers if not answer.is_missing)

    @cached_property
    def prompts(self) -> frozenset[str]:
        """Ids of the prompts with an answer."""
        return frozenset(answer.response.prompt_id for answer in self.came)

    @property
    def asked(self) -> int:
        """The largest requested length among the answered prompts; 0 if no prompt asks for a length."""
        return max((answer.response.required_words or 0 for answer in self.came), default=0)

    @property
    def longest(self) -> int:
        """Words of the longest answer; 0 without answers."""
        return self.total.max_words or 0

    @property
    def is_judge_unfit(self) -> bool:
        """Whether the judge of the scores did not tell good texts from shuffled words; False if that is not known."""
        anchors = self.diagnostics.anchors
        return anchors is not None and anchors.model == self.judge and anchors.separates is False

    @property
    def without_loops(self) -> str:
        """`` (3,577 without loops and next turns)`` behind the longest answer, or nothing if that is the same."""
        clean = self.total.max_clean_words
        return "" if clean in (None, self.total.max_words) else f" ({words(clean)} without loops and next turns)"


def all_metrics(evaluations: Iterable[Evaluation]) -> tuple[MetricInfo, ...]:
    """All metrics that any evaluation has, each once, in the order of the tables."""
    return tuple({metric.name: metric for e in evaluations for metric in e.metrics}.values())


def known_sum(values: Iterable[float | None]) -> float | None:
    """Sum of the known values; None if none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def read_evaluation(path: Path, nodes: Mapping[str, Run], notes: list[str]) -> Evaluation | None:
    """Read an evaluation run; None, with a note, if it has no answers.

    Args:
        path: The run's directory.
        nodes: The run and everything it was made from.
        notes: Receives notes for the reader of the report.
    """
    node = nodes[path.resolve().name]
    reason = one_line(node.manifest.reason or "", 200)
    state = f"{node.id}: {node.status}{f' ({reason})' if reason else ''}"
    responses = rows_of(path / RESPONSES, Response, node.id, notes)
    verdicts = rows_of(path / VERDICTS, Verdict, node.id, notes)
    if not responses:
        notes.append(f"{state}; it has no answers and is left out.")
        return None
    if node.status != "finished":
        notes.append(f"{state}; its numbers are partial.")
    notes += [f"{node.id}: the judge gave no score: {row}." for row in JudgeFailures.of(path)]
    metrics = _metrics(path, node.id, notes)
    judged = tuple(v for v in verdicts if any(m.kind == v.kind and m.needs_judge for m in metrics))
    judge = _judge(node, judged, notes)
    diagnostics = read_diagnostics(path, node.id, notes)
    joined = join(responses, verdicts, judge, metrics, diagnostics.checks)
    if joined.n_repeated_ids:
        notes.append(f"{node.id}: {plural(joined.n_repeated_ids, 'repeated answer')}; the later one counts.")
    if joined.n_orphan_verdicts:
        notes.append(f"{node.id}: ignored {plural(joined.n_orphan_verdicts, 'verdict')} without an answer.")
    train = next((n for n in (nodes[p] for p in node.parents) if n.stage in ("train", "missing")), None)
    if train and not train.is_missing and train.config is None:
        notes.append(f"{train.id}: this version cannot read its config.json; its objective's figures are left out.")
    return Evaluation(
        label=one_line(train.name if train else _model_name(node, responses[0].model), _NAME_LENGTH) or node.id,
        node=node,
        train=train,
        started_from=_started_from(train, nodes) if train else (),
        answers=joined.answers,
        metrics=metrics,
        ranges=_ranges(node, notes),
        judge=judge,
        judged=judged,
        diagnostics=diagnostics,
    )


def _model_name(node: Run, model: str) -> str:
    """The name of a model that was not trained here: ``name=`` of its evaluation, or what its answers call it.

    A folder is called by its last part, and a file with a plain name such as ``pred.jsonl`` by its folder.
    """
    file, folder = node.setting("responses", str), node.setting("engine.path", str)
    if name := node.setting("name", str):
        return name
    if file and model == Path(file).stem:  # the answers do not name their model
        stem = Path(file).name.partition(".")[0] if Path(file).suffix else Path(file).name
        return Path(file).parent.name if stem.lower() in _PLAIN_FILES and Path(file).parent.name else model
    return Path(model).name if folder and model == folder else model or node.name


def _started_from(train: Run, nodes: Mapping[str, Run]) -> tuple[str, ...]:
    """Training runs whose models the run was trained from, nearest first; runs that only made its data are left out."""
    found: list[str] = []
    node: Run | None = train
    while node is not None:
        trained = (parent for parent in node.parents if nodes[parent].stage == "train")
        start = node.manifest.inputs.get("init_from") or next(trained, None)
        if start is None or start in found:
            break
        found.append(start)
        node = nodes.get(start)
    return tuple(found)


def _ranges(node: Run, notes: list[str]) -> tuple[WordRange, ...]:
    """The bench's ranges of required lengths; empty if the config has none or, with a note, if it cannot be read."""
    parts = (node.setting("bench", dict) or {}).get("ranges") or ()
    try:
        return TypeAdapter(tuple[WordRange, ...]).validate_python(parts)
    except ValidationError as error:
        notes.append(f"{node.id}: bench.ranges cannot be read ({first_problem(error)}); there is no table per range.")
        return ()


def _metrics(path: Path, run_id: str, notes: list[str]) -> tuple[MetricInfo, ...]:
    """The metrics that the run recorded; the paper's metrics for older runs, which recorded none."""
    file = path / "metrics.json"
    if not file.is_file():
        return standard_metrics()
    try:
        return tuple(TypeAdapter(list[MetricInfo]).validate_json(file.read_bytes()))
    except ValidationError as error:
        notes.append(f"{run_id}: metrics.json cannot be read ({first_problem(error)}); assuming S_l, S_q and S-bar.")
        return standard_metrics()


def _judge(node: Run, judged: Sequence[Verdict], notes: list[str]) -> str | None:
    """The scorer of judged metrics: the configured judge, else the one with most verdicts."""
    scorers = Counter(verdict.scorer for verdict in judged)
    if not scorers:
        return None
    configured = node.setting("judge.model", str)
    judge = configured if configured is not None and configured in scorers else scorers.most_common(1)[0][0]
    if len(scorers) > 1:
        others = ", ".join(one_line(scorer, _NAME_LENGTH) for scorer in scorers if scorer != judge)
        notes.append(f"{node.id}: scores are those by {one_line(judge, 40)}; those by {others} only stand beside them.")
    return judge
