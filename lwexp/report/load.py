"""Turns paths into a comparison: finds evaluation runs, names the models, and groups those that may be compared."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lwexp.records import LwexpError
from lwexp.report.differences import tell_apart
from lwexp.report.evaluations import Evaluation, read_evaluation
from lwexp.report.groups import Group
from lwexp.runs.artifacts import Manifest
from lwexp.runs.find import list_runs
from lwexp.runs.run import Run, trace
from lwexp.text.plain import one_line


@dataclass(frozen=True)
class Comparison:
    """Evaluations in groups, largest first; ``nodes`` are their runs and all ancestors of these."""

    groups: tuple[Group, ...]
    nodes: dict[str, Run]
    notes: tuple[str, ...]

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        return tuple(evaluation for group in self.groups for evaluation in group.evaluations)

    @property
    def models(self) -> list[Evaluation]:
        """The first evaluation of each model, in the order of their places."""
        return sorted({e.place: e for e in reversed(self.evaluations)}.values(), key=lambda e: e.place)

    @property
    def folder(self) -> Path:
        """The closest folder above all runs."""
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
    return Comparison(_groups(evaluations), trace(e.node.path for e in evaluations), tuple(notes))


def _groups(evaluations: list[Evaluation]) -> tuple[Group, ...]:
    """Models without a judge are grouped with the judged ones, because lengths can be compared."""
    judges: dict[str, list[str | None]] = {}
    for evaluation in evaluations:
        found = judges.setdefault(evaluation.bench, [])
        if evaluation.judge is not None and evaluation.judge not in found:
            found.append(evaluation.judge)
    groups = [
        Group(bench, judge, tuple(e for e in evaluations if e.bench == bench and e.judge in wanted))
        for bench, found in judges.items()
        for judge, wanted in [(j, {j, None} if j == found[0] else {j}) for j in found] or [(None, {None})]
    ]
    return _placed(sorted(groups, key=lambda group: -len(group.evaluations)))


def _placed(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Give each model the same place, and so the same colour, in all groups."""
    models = dict.fromkeys(e.model_id for group in groups for e in group.evaluations)
    places = {model: place for place, model in enumerate(models)}
    return tuple(
        replace(group, evaluations=tuple(replace(e, place=places[e.model_id]) for e in group.evaluations))
        for group in groups
    )


def find_evaluations(paths: Sequence[str | Path], notes: list[str]) -> list[Run]:
    """Evaluation runs named by run directories, folders of runs and glob patterns, each once.

    A training run means all evaluations made from it. A run without an evaluation becomes a note.
    """
    found: dict[Path, Run] = {}
    for wanted in paths:
        matches = [Path(wanted)] if Path(wanted).exists() else [Path(p) for p in sorted(glob.glob(str(wanted)))]
        if not matches:
            raise LwexpError(f"report: {wanted} does not exist; give run directories or a folder of runs")
        found |= {run.path.resolve(): run for path in matches for run in _evaluations_at(path, notes)}
    return list(found.values())


def _evaluations_at(path: Path, notes: list[str]) -> list[Run]:
    if (path / Manifest.FILE).is_file():
        run = Run.at(path) or Run.missing(path)
        if run.stage != "train":
            return [run] if run.stage == "evaluate" else []
        trained = [run]
        evaluated = [other for other in list_runs(path.parent) if other.stage == "evaluate" and run.id in other.parents]
    else:
        runs = list_runs(path) or [run for folder in sorted(path.glob("*/")) for run in list_runs(folder)]
        trained, evaluated = ([run for run in runs if run.stage == stage] for stage in ("train", "evaluate"))
    used = {parent for run in evaluated for parent in run.parents}
    for run in trained:
        if run.id not in used:
            reason = f" ({run.manifest.reason})" if run.manifest.reason else ""
            state = one_line(f"training run, {run.status}{reason}", 300)
            notes.append(f"{run.id}: {state}; not evaluated, so it has no scores here.")
    return evaluated


def _named(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Order models by creation, short caps first, and make equal names distinct."""

    def order(evaluation: Evaluation) -> tuple[bool, float, str]:
        cap = evaluation.max_train_words
        return bool(evaluation.started_from), float("inf") if cap is None else cap, evaluation.label

    ordered = sorted(evaluations, key=order)
    labels = tell_apart(
        [e.label for e in ordered],
        [{**e.train_config, "bench": e.config.get("bench")} for e in ordered],
        [e.model_id for e in ordered],
        [e.node.id for e in ordered],
    )
    return [replace(evaluation, label=label) for evaluation, label in zip(ordered, labels, strict=True)]
