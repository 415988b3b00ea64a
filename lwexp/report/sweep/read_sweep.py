"""Reads a sweep's folder: every trial, finished or not, with its evaluation."""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lwexp.pages.display import plural
from lwexp.records import LwexpError, MetricInfo
from lwexp.report.aggregation import Cell, n_unscored
from lwexp.report.differences import short_names, tell_apart
from lwexp.report.evaluations import Evaluation, all_metrics, known_sum
from lwexp.report.figures.training_metrics import long_share
from lwexp.report.groups import Group
from lwexp.report.load import Comparison, load
from lwexp.runs.artifacts import TRIALS, Manifest
from lwexp.runs.run import Run, trace
from lwexp.runs.summaries import SweepSummary, varied_keys
from lwexp.runs.trials import Trial, read_trials
from lwexp.text.plain import one_line

_SEED = "seed"


@dataclass(frozen=True)
class Outcome:
    """One trial with its runs."""

    trial: Trial
    label: str
    evaluation: Evaluation | None
    runs: tuple[Run, ...]

    @property
    def settings(self) -> Mapping[str, str]:
        """Key -> value of the trial's overrides, as typed."""
        return self.trial.settings

    @property
    def total(self) -> Cell | None:
        return self.evaluation.total if self.evaluation else None

    @property
    def max_train_words(self) -> int | None:
        return self.evaluation.max_train_words if self.evaluation else None

    @property
    def unscored(self) -> int | None:
        """Answers that the judge did not score; None if there is no judge."""
        found = self.evaluation
        return n_unscored(found.total, found.metrics) if found and found.judge else None

    @property
    def reason(self) -> str:
        """Why the trial failed; empty if it did not."""
        return one_line(self.trial.reason or "", 300)

    @property
    def dollars(self) -> float | None:
        """Dollars that the trial's runs paid for calls; None if unknown."""
        return known_sum(run.number("cost_usd") for run in self.runs)

    @property
    def gpu_hours(self) -> float | None:
        return known_sum(gpu_hours(run) for run in self.runs if run.stage == "train")

    @property
    def long_share(self) -> float | None:
        """Share of the loss weight that was on long documents during training."""
        train = self.evaluation.train if self.evaluation else None
        return long_share(train.path) if train else None


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
        """The varied keys other than the seed; the seed if nothing else was varied."""
        others = tuple(key for key in self.varied if key.split(".")[-1] != _SEED)
        return others or self.varied

    @property
    def names(self) -> dict[str, str]:
        return short_names(self.varied)

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        return all_metrics(outcome.evaluation for outcome in self.outcomes if outcome.evaluation)

    @property
    def tally(self) -> str:
        counts = Counter(outcome.trial.status for outcome in self.outcomes)
        return f"{plural(len(self.outcomes), 'trial')} = {' + '.join(f'{n} {status}' for status, n in counts.items())}"


def is_sweep(path: Path) -> bool:
    return (path / TRIALS).is_file()


def read_sweep(folder: Path) -> tuple[Sweep, Comparison]:
    """Read a sweep and compare its evaluated trials; the comparison may be empty.

    Raises:
        LwexpError: If trials.json cannot be read.
    """
    trials = read_trials(folder)
    if not trials:
        raise LwexpError(f"report: {folder / TRIALS} cannot be read or is empty; run the sweep again")
    about = SweepSummary.read(folder) or SweepSummary(name=folder.name)
    keys = tuple(varied_keys([trial.overrides for trial in trials]) if about.varied is None else about.varied)
    paths = [[_where(run, folder) for run in trial.runs] for trial in trials]
    labels = [_label(trial, keys) for trial in trials]
    by_run = {_id(run): label for runs, label in zip(paths, labels, strict=True) for run in runs}
    comparison = _relabelled(_comparison([path for runs in paths for path in runs]), by_run)
    evaluations = {e.node.id: e for e in reversed(comparison.evaluations)}
    outcomes = []
    for trial, label, runs in zip(trials, labels, paths, strict=True):
        ids = [_id(run) for run in runs]
        found = next((evaluations[run] for run in ids if run in evaluations), None)
        nodes = tuple(comparison.nodes[run] for run in ids if run in comparison.nodes)
        outcomes.append(Outcome(trial, label, found, nodes))
    sweep = Sweep(folder, one_line(about.name, 80), one_line(about.question, 300), keys, tuple(outcomes))
    return sweep, comparison


def _label(trial: Trial, varied: Sequence[str]) -> str:
    """``max_words=50 seed=1``: the short name of each varied key, and its value."""
    names = short_names(varied)
    pairs = [f"{names[key]}={trial.settings[key]}" for key in varied if key in trial.settings]
    return one_line(" ".join(pairs) or trial.label, 80)


def number_of(value: str | None) -> float | None:
    """A setting as a number; None if it is not one."""
    try:
        number = ast.literal_eval(str(value))
    except (ValueError, SyntaxError):
        return None
    return float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None


def gpu_hours(node: Run) -> float | None:
    """Hours of training times the number of GPUs; None without GPUs, or if the time is unknown."""
    kind = node.setting("hardware.accelerator", str) or node.setting("hardware.kind", str)
    if kind not in ("gpu", "cuda") or node.seconds is None:
        return None
    devices, nodes = node.setting("hardware.devices", int), node.setting("hardware.num_nodes", int)
    return node.seconds * (devices or 1) * (nodes or 1) / 3600


def _comparison(runs: Sequence[Path]) -> Comparison:
    """Compare the evaluated trials; the lineage includes the runs of all trials."""
    nodes = trace(runs)
    evaluated = [path for path in runs if nodes[_id(path)].stage == "evaluate"]
    if not evaluated:
        return Comparison((), nodes, ())
    try:
        found = load(evaluated)
    except LwexpError as error:
        return Comparison((), nodes, (str(error),))
    return replace(found, nodes={**nodes, **found.nodes})


def _relabelled(comparison: Comparison, by_run: Mapping[str, str]) -> Comparison:
    """Label models by their trial's settings, because they all have the same name."""

    def relabel(group: Group) -> Group:
        ids = [e.node.id for e in group.evaluations]
        wanted = [by_run.get(e.node.id, e.label) for e in group.evaluations]
        labels = tell_apart(wanted, [{} for _ in wanted], ids, wanted)
        pairs = zip(group.evaluations, labels, strict=True)
        return replace(group, evaluations=tuple(replace(e, label=label) for e, label in pairs))

    return replace(comparison, groups=tuple(map(relabel, comparison.groups)))


def _id(path: Path) -> str:
    return path.resolve().name


def _where(run: str, folder: Path) -> Path:
    """A run's directory: as recorded or, if the tree was moved, next to the sweep's folder."""
    recorded, beside = Path(run), folder.resolve().parent / Path(run).name
    return recorded if (recorded / Manifest.FILE).is_file() else beside
