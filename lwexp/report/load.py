"""From paths to a comparison: finds evaluation runs, names the models, groups what may be compared."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lwexp.records import LwexpError, MetricInfo
from lwexp.report.differences import tell_apart
from lwexp.report.evaluations import Evaluation, all_metrics, read_evaluation
from lwexp.runs.find import list_runs
from lwexp.runs.run import Run, trace
from lwexp.text.plain import one_line

OFFLINE = "offline/"


@dataclass(frozen=True)
class Group:
    """Evaluations whose scores may be compared: same bench, same version, same judge."""

    bench: str
    judge: str | None
    evaluations: tuple[Evaluation, ...]

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return all_metrics(self.evaluations)

    @property
    def is_stand_in(self) -> bool:
        """Whether judged scores come from the offline heuristic."""
        return (self.judge or "").startswith(OFFLINE)


@dataclass(frozen=True)
class Comparison:
    groups: tuple[Group, ...]
    nodes: dict[str, Run]
    notes: tuple[str, ...]

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        return tuple(evaluation for group in self.groups for evaluation in group.evaluations)

    @property
    def folder(self) -> Path:
        """Where the runs stand: the folder that all of them share."""
        return Path(os.path.commonpath([e.node.path.resolve().parent for e in self.evaluations]))


def load(paths: Sequence[str | Path]) -> Comparison:
    """Read every evaluation that the paths name.

    Raises:
        LwexpError: If a path is neither a run nor a folder of runs, or nothing was evaluated yet.
    """
    notes: list[str] = []
    runs = find_evaluations(paths, notes)
    nodes = trace(run.path for run in runs)
    read = [read_evaluation(run.path, nodes, notes) for run in runs]
    evaluations = _named([evaluation for evaluation in read if evaluation is not None])
    if not evaluations:
        where = ", ".join(str(path) for path in paths) or "no path"
        reasons = f" ({'; '.join(notes)})" if notes else ""
        raise LwexpError(f"report: no evaluation with answers in {where}{reasons}; make one with: python evaluate.py")
    groups = _groups(evaluations)
    kept = trace(e.node.path for e in evaluations)
    return Comparison(tuple(groups), kept, tuple(notes))


def _groups(evaluations: list[Evaluation]) -> list[Group]:
    """Largest first. Models that no judge scored stand with the judged ones: their lengths compare."""
    judges: dict[str, list[str | None]] = {}
    for evaluation in evaluations:
        there = judges.setdefault(evaluation.bench, [])
        if evaluation.judge is not None and evaluation.judge not in there:
            there.append(evaluation.judge)
    groups = [
        Group(bench, judge, tuple(e for e in evaluations if e.bench == bench and e.judge in wanted))
        for bench, there in judges.items()
        for judge, wanted in [(j, {j, None} if j == there[0] else {j}) for j in there] or [(None, {None})]
    ]
    return sorted(groups, key=lambda group: -len(group.evaluations))


def find_evaluations(paths: Sequence[str | Path], notes: list[str]) -> list[Run]:
    """Evaluation runs named by run directories, folders of runs and glob patterns, each once.

    A training run stands for the evaluations made from it. Whatever adds nothing becomes a note.
    """
    found: dict[Path, Run] = {}
    for wanted in paths:
        matches = [Path(wanted)] if Path(wanted).exists() else [Path(p) for p in sorted(glob.glob(str(wanted)))]
        if not matches:
            raise LwexpError(f"report: {wanted} does not exist; give run directories or a folder that holds them")
        for path in matches:
            for run in _evaluations_at(path, notes):
                found.setdefault(run.path.resolve(), run)
    return list(found.values())


def _evaluations_at(path: Path, notes: list[str]) -> list[Run]:
    if (path / "manifest.json").is_file():
        run = Run.at(path) or Run.missing(path)
        if run.stage != "train":
            return [run] if run.stage == "evaluate" else []
        trained = [run]
        evaluated = [other for other in list_runs(path.parent) if other.stage == "evaluate" and run.id in other.parents]
    else:
        runs = list_runs(path) or [run for folder in sorted(path.glob("*/")) for run in list_runs(folder)]
        trained = [run for run in runs if run.stage == "train"]
        evaluated = [run for run in runs if run.stage == "evaluate"]
    used = {parent for run in evaluated for parent in run.parents}
    for run in trained:
        if run.id not in used:
            reason = f" ({run.manifest.reason})" if run.manifest.reason else ""
            standing = one_line(f"training run, {run.status}{reason}", 300)
            notes.append(f"{run.id}: {standing}; not evaluated, so it has no scores here.")
    return evaluated


def _named(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Order models as they were made, short caps first, and tell equal names apart."""

    ordered = sorted(
        evaluations,
        key=lambda e: (e.objective == "dpo", float("inf") if e.max_train_words is None else e.max_train_words, e.label),
    )
    labels = tell_apart(
        [e.label for e in ordered],
        [{**e.train_config, "bench": e.config.get("bench")} for e in ordered],
        [(e.train or e.node).id for e in ordered],
        [e.node.id for e in ordered],
    )
    return [replace(evaluation, label=label) for evaluation, label in zip(ordered, labels, strict=True)]
