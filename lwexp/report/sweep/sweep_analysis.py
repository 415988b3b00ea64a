"""The answer to a sweep's question: one axis, one metric, and a fit where the question is the output cap; pure.

The output cap is fitted on logarithmic axes, log(longest answer) = a + b log(longest training answer), least squares;
the 95% interval of the slope b is Student's with n - 2 degrees of freedom. Slope 1 is a model that writes as long as
what it was trained on.
"""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from lwexp.pages.display import confidence, named, score, signed, words
from lwexp.records import MetricInfo
from lwexp.report.evaluations import Evaluation
from lwexp.report.findings import is_clear
from lwexp.report.sweep.trials import Outcome, Sweep, number_of
from lwexp.report.tables import Cell, best_first, main_metric, prompt_means
from lwexp.stats.intervals import Interval, interval, paired_difference, rank_correlation

_CAP = re.compile(r"mixture\.sources\.[\w-]+\.max_words")


class TrialPoint(NamedTuple):
    """A trial that was evaluated, and where it stands on the axis."""

    outcome: Outcome
    evaluation: Evaluation
    x: float | None
    value: str
    series: str

    @property
    def cap(self) -> int | None:
        return self.evaluation.max_train_words

    @property
    def total(self) -> Cell:
        return self.evaluation.total


class Fit(NamedTuple):
    """A straight line on logarithmic axes, and the rank correlations of all points and of the means of each x."""

    slope: float
    slope_interval: Interval | None
    intercept: float
    r_squared: float
    rank_correlation: float
    n: int
    rank_correlation_of_means: float

    def at(self, x: float) -> float:
        return float(10**self.intercept * x**self.slope)


class Setting(NamedTuple):
    """All seeds of one setting. ``mean`` is over prompts whose scores are averaged over seeds first."""

    value: str
    x: float | None
    series: str
    points: tuple[TrialPoint, ...]
    mean: float | None
    interval: Interval | None


class SweepResult(NamedTuple):
    """What the first screen says. ``fit`` and ``is_cap`` only for the output cap."""

    factor: str
    name: str
    """What a page calls the factor."""
    finding: str
    points: tuple[TrialPoint, ...]
    settings: tuple[Setting, ...]
    fit: Fit | None
    is_cap: bool
    metric: MetricInfo


def sweep_result(sweep: Sweep) -> SweepResult | None:
    """Read the sweep's answer off its trials; None where none was evaluated."""
    factor, *rest = sweep.factors or ("trial",)
    names = sweep.names
    name = names.get(factor, factor)
    points = []
    for outcome in sweep.outcomes:
        if outcome.evaluation is None:
            continue
        value = outcome.settings.get(factor, outcome.label)
        series = " ".join(f"{names[key]}={outcome.settings.get(key, '')}" for key in rest)
        points.append(TrialPoint(outcome, outcome.evaluation, number_of(value), value, series))
    if not points:
        return None
    is_cap = bool(_CAP.fullmatch(factor)) and not rest and all(point.cap for point in points)
    metric = main_metric(sweep.metrics, [point.total for point in points])
    settings = _settings(points, metric.name)
    fit = fit_line([(float(m.cap or 0), float(m.total.max_words or 0)) for m in points]) if is_cap else None
    finding = _cap_finding(points, fit) if is_cap else _finding(name, settings, metric)
    if factor.endswith(".normalize"):
        finding += _weights(name, points)
    return SweepResult(factor, name, finding + _missing(sweep), tuple(points), settings, fit, is_cap, metric)


def fit_line(points: Sequence[tuple[float, float]]) -> Fit | None:
    """Least squares on logarithms; None below two different x, or where a value is not positive."""
    if len({x for x, _ in points}) < 2 or any(x <= 0 or y <= 0 for x, y in points):
        return None
    import numpy as np
    from scipy import stats

    x, y = np.log10([p[0] for p in points]), np.log10([p[1] for p in points])
    line = stats.linregress(x, y)
    n = len(points)
    spread = None
    if n > 2:
        half = float(stats.t.ppf(0.975, n - 2) * line.stderr)
        spread = (float(line.slope) - half, float(line.slope) + half)
    xs = sorted({a for a, _ in points})
    means = [fmean(b for a, b in points if a == each) for each in xs]
    rank = rank_correlation([a for a, _ in points], [b for _, b in points])
    of_means = rank_correlation(xs, means)
    return Fit(float(line.slope), spread, float(line.intercept), float(line.rvalue**2), rank, n, of_means)


def _settings(points: Sequence[TrialPoint], metric: str) -> tuple[Setting, ...]:
    groups: dict[tuple[str, str], list[TrialPoint]] = {}
    for point in points:
        groups.setdefault((point.series, point.value), []).append(point)
    settings = []
    for (series, value), found in groups.items():
        means = list(_over_seeds(found, metric).values())
        mean = fmean(means) if means else None
        settings.append(Setting(value, found[0].x, series, tuple(found), mean, interval(means)))
    if all(setting.x is not None for setting in settings):
        settings.sort(key=lambda setting: (setting.series, setting.x))
    return tuple(settings)


def _over_seeds(points: Sequence[TrialPoint], metric: str) -> Mapping[str, float]:
    """Prompt -> mean over seeds, over the prompts that every seed scored."""
    each = [prompt_means(point.evaluation.answers, metric) for point in points]
    shared = set.intersection(*(set(found) for found in each)) if each else set()
    return {prompt: fmean(found[prompt] for found in each) for prompt in sorted(shared)}


def _cap_finding(points: Sequence[TrialPoint], fit: Fit | None) -> str:
    ordered = sorted(points, key=lambda point: point.cap or 0)
    first, last = ordered[0], ordered[-1]
    ends = (
        f"{words(first.total.max_words)} words where the longest training answer has {words(first.cap)}, "
        f"{words(last.total.max_words)} where it has {words(last.cap)}"
    )
    if fit is None:
        return f"One cap alone says nothing about the others: {ends.split(',', 1)[0]}."
    follows = fit.rank_correlation > 0.9
    verb = "Yes: the longest answer follows" if follows else "Not clearly: the longest answer does not simply follow"
    caps = len({point.cap for point in points})
    of_means = f" ({fit.rank_correlation_of_means:.2f} of the means at each of {caps} caps)" if caps < fit.n else ""
    return (
        f"{verb} the longest training answer: {ends}; Spearman rank correlation {fit.rank_correlation:.2f}{of_means}, "
        f"slope {fit.slope:.2f}{confidence(fit.slope_interval, 2)} over {fit.n} models."
    )


def _finding(factor: str, settings: Sequence[Setting], metric: MetricInfo) -> str:
    key = best_first(metric)
    scored = sorted((s for s in settings if s.mean is not None), key=lambda s: key(s.mean))
    if not scored:
        return "The trials wrote answers, but none of them is scored."
    best, worst = scored[0], scored[-1]
    means = [f"{score(s.mean, metric.decimals)} with {named(_setting(factor, s))}" for s in (best, worst)]
    sure = confidence(best.interval, metric.decimals)
    if best is worst:
        only = f"Only {named(_setting(factor, best))} was evaluated"
        return f"{only}: {metric.label} {score(best.mean, metric.decimals)}{sure}."
    apart = paired_difference(*(_over_seeds(s.points, metric.name) for s in (best, worst)))
    if apart is None:
        return f"{metric.label} is {means[0]}{sure}; the trials share no prompt."
    known = confidence(apart.interval, metric.decimals)
    between = f"{', '.join(means)}; {signed(apart.mean, metric.decimals)} over {apart.n_prompts:,} prompts{known}"
    if not is_clear(apart, metric):
        return f"No measurable difference in {metric.label}: {between}."
    return f"{metric.label} differs: {between}, the best and the worst of {len(scored)} settings."


def _weights(factor: str, points: Sequence[TrialPoint]) -> str:
    """What each average gave to the long documents; all seeds of one average in its mean."""
    shares: dict[str, list[float]] = {}
    for point in points:
        if point.outcome.long_share is not None:
            shares.setdefault(point.value, []).append(point.outcome.long_share)
    parts = [f"{100 * fmean(found):.1f}% under {named(f'{factor}={value}')}" for value, found in shares.items()]
    what = " Long documents, which hold half of the target tokens, had this share of the loss: "
    return f"{what}{', '.join(parts)}." if parts else ""


def _setting(factor: str, setting: Setting) -> str:
    return f"{factor}={setting.value}" + (f" {setting.series}" if setting.series else "")


def _missing(sweep: Sweep) -> str:
    failed = sum(outcome.trial.status == "failed" for outcome in sweep.outcomes)
    open_ = sum(outcome.evaluation is None and outcome.trial.status != "failed" for outcome in sweep.outcomes)
    parts = [f"{failed} failed"] if failed else []
    parts += [f"{open_} without an evaluation"] if open_ else []
    return f" Of {len(sweep.outcomes)} trials, {' and '.join(parts)}: this is what the others say." if parts else ""
