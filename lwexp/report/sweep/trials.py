"""Reads a sweep's folder: every trial, finished or not, with its evaluation."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from lwexp.records import LwexpError, MetricInfo
from lwexp.report.differences import short_names, tell_apart
from lwexp.report.evaluations import Evaluation, all_metrics, known_sum
from lwexp.report.figures.training_metrics import long_share
from lwexp.report.load import Comparison, Group, load
from lwexp.report.tables import Cell, n_unscored
from lwexp.runs.artifacts import Tree
from lwexp.runs.run import Run, trace
from lwexp.runs.summaries import SweepSummary
from lwexp.runs.trials import Trial, read_trials
from lwexp.text.plain import one_line

_SEED = "seed"


class Outcome(NamedTuple):
    """One trial: its settings as typed, its runs, and what they cost. None is unknown, not zero.

    ``long_share`` is the share of its loss weight that long documents had while it trained.
    """

    trial: Trial
    settings: Mapping[str, str]
    label: str
    evaluation: Evaluation | None
    runs: tuple[Run, ...]
    dollars: float | None
    gpu_hours: float | None
    long_share: float | None

    @property
    def total(self) -> Cell | None:
        return self.evaluation.total if self.evaluation else None

    @property
    def unscored(self) -> int | None:
        """Answers that the judge did not score; None where there is no judge."""
        found = self.evaluation
        return n_unscored(found.total, found.metrics) if found and found.judge else None


@dataclass(frozen=True)
class Sweep:
    """A sweep with its question; ``varied`` are the keys that differ between trials, in their order."""

    folder: Path
    name: str
    question: str
    varied: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def factors(self) -> tuple[str, ...]:
        """What was varied besides the seed; the seed where it is all that was."""
        others = tuple(key for key in self.varied if key.split(".")[-1] != _SEED)
        return others or self.varied

    @property
    def names(self) -> dict[str, str]:
        return short_names(self.varied)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return all_metrics(outcome.evaluation for outcome in self.outcomes if outcome.evaluation)


def is_sweep(path: Path) -> bool:
    return (path / "trials.json").is_file()


def read_sweep(folder: Path) -> tuple[Sweep, Comparison]:
    """The sweep, and the comparison of those of its trials that were evaluated; it may hold no evaluation.

    Raises:
        LwexpError: If trials.json cannot be read.
    """
    trials = read_trials(folder)
    if not trials:
        raise LwexpError(f"report: {folder / 'trials.json'} cannot be read or is empty; run the sweep again")
    about = SweepSummary.read(folder) or SweepSummary(name=folder.name)
    settings = [settings_of(trial) for trial in trials]
    keys = varied_keys(settings) if about.varied is None else tuple(about.varied)
    paths = [[_at(run, folder) for run in trial.runs] for trial in trials]
    evaluated = [path for each in paths for path in each if (Run.at(path) or Run.missing(path)).stage == "evaluate"]
    comparison = _comparison(evaluated, [path for each in paths for path in each])
    labels = [label_of(own, keys) or one_line(trial.label, 80) for trial, own in zip(trials, settings, strict=True)]
    comparison = _relabelled(
        comparison, {_id(run): label for runs, label in zip(paths, labels, strict=True) for run in runs}
    )
    outcomes = tuple(
        _outcome(trial, own, label, runs, comparison)
        for trial, own, label, runs in zip(trials, settings, labels, paths, strict=True)
    )
    return Sweep(folder, one_line(about.name, 80), one_line(about.question, 300), keys, outcomes), comparison


def settings_of(trial: Trial) -> dict[str, str]:
    pairs = (item.lstrip("+~").partition("=") for item in trial.overrides)
    return {key: value for key, equals, value in pairs if equals}


def varied_keys(settings: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Keys whose values differ, for folders whose sweep.json does not say."""
    keys = dict.fromkeys(key for own in settings for key in own)
    return tuple(key for key in keys if len({own.get(key) for own in settings}) > 1)


def label_of(settings: Mapping[str, str], varied: Sequence[str]) -> str:
    """``max_words=50 seed=1``: the short name of each varied key, and its value."""
    names = short_names(varied)
    return one_line(" ".join(f"{names[key]}={settings[key]}" for key in varied if key in settings), 80)


def number_of(value: str | None) -> float | None:
    """A setting as a number; None if it is not one."""
    try:
        number = ast.literal_eval(str(value))
    except (ValueError, SyntaxError):
        return None
    return float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None


def gpu_hours(config: Tree, node: Run) -> float | None:
    """Wall time of training x its GPUs; None without GPUs, or where the time is not known."""
    hardware = config.get("hardware") or {}
    if hardware.get("accelerator", hardware.get("kind")) not in ("gpu", "cuda") or node.seconds is None:
        return None
    return node.seconds * int(hardware.get("devices") or 1) * int(hardware.get("num_nodes") or 1) / 3600


def _outcome(
    trial: Trial, settings: Mapping[str, str], label: str, paths: Sequence[Path], comparison: Comparison
) -> Outcome:
    ids = list(map(_id, paths))
    nodes = tuple(comparison.nodes[run] for run in ids if run in comparison.nodes)
    evaluation = next((e for e in comparison.evaluations if e.node.id in ids), None)
    train = evaluation.train if evaluation else None
    return Outcome(
        trial=trial,
        settings=settings,
        label=label,
        evaluation=evaluation,
        runs=nodes,
        dollars=known_sum(node.number("cost_usd") for node in nodes),
        gpu_hours=known_sum(gpu_hours(node.config_tree, node) for node in nodes if node.stage == "train"),
        long_share=long_share(train.path) if train else None,
    )


def _comparison(evaluated: Sequence[Path], runs: Sequence[Path]) -> Comparison:
    """Of the evaluated trials; the lineage holds the other trials' runs too."""
    nodes = trace(runs)
    notes: tuple[str, ...] = ()
    if evaluated:
        try:
            found = load(evaluated)
            return replace(found, nodes={**nodes, **found.nodes})
        except LwexpError as error:
            notes = (str(error),)
    return Comparison((), nodes, notes)


def _relabelled(comparison: Comparison, by_run: Mapping[str, str]) -> Comparison:
    """Models by their trial's settings instead of the name that all of them share."""

    def named(group: Group) -> Group:
        wanted = [by_run.get(e.node.id, e.label) for e in group.evaluations]
        labels = tell_apart(wanted, [{} for _ in wanted], [e.node.id for e in group.evaluations], wanted)
        pairs = zip(group.evaluations, labels, strict=True)
        return replace(group, evaluations=tuple(replace(e, label=label) for e, label in pairs))

    return replace(comparison, groups=tuple(map(named, comparison.groups)))


def _id(path: Path) -> str:
    return path.resolve().name


def _at(run: str, folder: Path) -> Path:
    """Where a run stands: as recorded, else beside the sweep's folder, where the tree was moved."""
    recorded, beside = Path(run), folder.resolve().parent / Path(run).name
    return recorded if (recorded / "manifest.json").is_file() else beside
