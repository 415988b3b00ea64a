"""The answer to a sweep's question: one axis, one metric, and a fit if the question is about the output cap; pure."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from lwexp.pages.display import named, words
from lwexp.records import MetricInfo
from lwexp.report.aggregation import main_metric, prompt_means
from lwexp.report.cap_fit import CapFit, describe_fit, fit_line
from lwexp.report.evaluations import Evaluation
from lwexp.report.findings import Contestant, leading
from lwexp.report.sweep.read_sweep import Sweep, number_of
from lwexp.stats.intervals import Interval, interval

_CAP = re.compile(r"mixture\.sources\.[\w-]+\.max_words")


class Setting(NamedTuple):
    """All seeds of one setting. ``means`` is prompt id -> mean over seeds; ``mean`` and ``interval`` are over prompts.

    ``x`` is the varied value as a number; ``series`` describes the other varied keys, and is empty if there are none.
    """

    value: str
    x: float | None
    series: str
    evaluations: tuple[Evaluation, ...]
    means: Mapping[str, float]
    mean: float | None
    interval: Interval | None


class SweepResult(NamedTuple):
    """The first screen of a sweep. ``fit`` and ``is_cap`` are set only for the output cap."""

    factor: str
    name: str
    """What a page calls the factor."""
    finding: str
    evaluations: tuple[Evaluation, ...]
    settings: tuple[Setting, ...]
    fit: CapFit | None
    is_cap: bool
    metric: MetricInfo

    @property
    def is_numeric(self) -> bool:
        return all(setting.x is not None for setting in self.settings)


def sweep_result(sweep: Sweep) -> SweepResult | None:
    """Answer the sweep's question from its trials; None if none was evaluated."""
    evaluations = tuple(outcome.evaluation for outcome in sweep.outcomes if outcome.evaluation)
    if not evaluations:
        return None
    factor, *rest = sweep.factors or ("trial",)
    name = sweep.names.get(factor, factor)
    metric = main_metric(sweep.metrics, [each.total for each in evaluations])
    settings = _settings(sweep, factor, rest, metric)
    points = [(float(each.max_train_words or 0), float(each.longest)) for each in evaluations]
    is_cap = bool(_CAP.fullmatch(factor)) and not rest and all(cap for cap, _ in points)
    fit = fit_line(points) if is_cap else None
    finding = _cap_finding(points, fit) if is_cap else _finding(name, settings, metric)
    if factor.endswith(".normalize"):
        finding += _weights(sweep, factor, name)
    return SweepResult(factor, name, finding + _missing(sweep), evaluations, settings, fit, is_cap, metric)


def _settings(sweep: Sweep, factor: str, rest: Sequence[str], metric: MetricInfo) -> tuple[Setting, ...]:
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for outcome in sweep.outcomes:
        if outcome.evaluation is not None:
            series = " ".join(f"{sweep.names[key]}={outcome.settings.get(key, '')}" for key in rest)
            value = outcome.settings.get(factor, outcome.label)
            groups.setdefault((series, value), []).append(outcome.evaluation)
    settings = []
    for (series, value), found in groups.items():
        means = _over_seeds(found, metric.name)
        values = list(means.values())
        mean = fmean(values) if values else None
        span = interval(values, within=metric.scale)
        settings.append(Setting(value, number_of(value), series, tuple(found), means, mean, span))
    if all(setting.x is not None for setting in settings):
        settings.sort(key=lambda setting: (setting.series, setting.x))
    return tuple(settings)


def _over_seeds(evaluations: Sequence[Evaluation], metric: str) -> dict[str, float]:
    """Prompt -> mean over seeds, over the prompts that every seed scored."""
    each = [prompt_means(evaluation.answers, metric) for evaluation in evaluations]
    shared = set.intersection(*(set(found) for found in each))
    return {prompt: fmean(found[prompt] for found in each) for prompt in sorted(shared)}


def _cap_finding(points: Sequence[tuple[float, float]], fit: CapFit | None) -> str:
    if fit is None:
        cap, longest = min(points)
        end = f"{words(longest)} words where trained on up to {words(cap)}"
        return f"One cap alone says nothing about the others: {end}."
    answer = "Yes" if fit.follows else "In part" if fit.rises else "Not clearly"
    return f"{answer}: {describe_fit(points, fit, has_slope=True)}."


def _finding(factor: str, settings: Sequence[Setting], metric: MetricInfo) -> str:
    contestants = [
        Contestant(
            named(f"{factor}={setting.value}" + (f" {setting.series}" if setting.series else "")),
            setting.mean, setting.interval, setting.means,
        )
        for setting in settings
    ]  # fmt: skip
    answers = (answer for setting in settings for each in setting.evaluations for answer in each.answers)
    asked = {answer.response.prompt_id for answer in answers if metric.name in answer.scores}
    said = (
        leading(contestants, metric, "setting", asked=len(asked))
        or "the trials wrote answers, but none of them is scored"
    )
    return f"{said[:1].upper()}{said[1:]}."


def _weights(sweep: Sweep, factor: str, name: str) -> str:
    """Share of the loss on long documents for each kind of average, as a mean over seeds."""
    shares: dict[str, list[float]] = {}
    for outcome in sweep.outcomes:
        if outcome.long_share is not None:
            shares.setdefault(outcome.settings.get(factor, outcome.label), []).append(outcome.long_share)
    parts = [f"{100 * fmean(found):.1f}% under {named(f'{name}={value}')}" for value, found in shares.items()]
    what = " Long documents, which hold half of the target tokens, had this share of the loss: "
    return f"{what}{', '.join(parts)}." if parts else ""


def _missing(sweep: Sweep) -> str:
    failed = sum(outcome.trial.status == "failed" for outcome in sweep.outcomes)
    open_ = sum(outcome.evaluation is None and outcome.trial.status != "failed" for outcome in sweep.outcomes)
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{open_} have no evaluation"] if open_ else []
    return f" Of {len(sweep.outcomes)} trials, {' and '.join(parts)}; the finding is about the others." if parts else ""
