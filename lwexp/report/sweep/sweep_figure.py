"""The figure that answers a sweep's question."""

from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.pages.display import score, words
from lwexp.pages.drawing import INK, MUTED, PAPER, Picture, colour, marker, picture, tick_words, word_steps
from lwexp.report.sweep.sweep_analysis import Setting, SweepResult, TrialPoint
from lwexp.text.plain import one_line


def sweep_figure(result: SweepResult, places: Mapping[str, int]) -> Picture:
    """The cap figure, or the metric by the varied setting.

    Args:
        result: With at least one evaluated trial.
        places: Label of a trial's model -> its place in the report, which is its colour.
    """
    return _cap_figure(result, places) if result.is_cap else _metric_figure(result, places)


def _place(point: TrialPoint, places: Mapping[str, int]) -> int:
    return places.get(point.evaluation.label, 0)


def _cap_figure(result: SweepResult, places: Mapping[str, int]) -> Picture:
    spots = [(point, float(point.cap or 1), max(1, point.total.max_words or 0)) for point in result.points]
    medians = [max(1.0, point.total.median_words or 0.0) for point in result.points]
    low = 0.72 * min(*(min(x, y) for _, x, y in spots), *medians)
    high = 1.4 * max(max(x, y) for _, x, y in spots)
    caps = sorted({round(x) for _, x, _ in spots})
    left, right = 0.8 * caps[0], 1.25 * caps[-1]

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        axes.plot([left, right], [left, right], color=MUTED, linewidth=1, dashes=(5, 4), zorder=1)
        if result.fit:
            axes.plot([left, right], [result.fit.at(left), result.fit.at(right)], color=INK, linewidth=1.6, zorder=2)
        for (point, x, y), median in zip(spots, medians, strict=True):
            place = _place(point, places)
            shade = colour(place)
            axes.plot([x, x], [median, y], color=shade, linewidth=1.2, alpha=0.5, zorder=2)
            axes.plot(x, median, marker="_", color=shade, markersize=11, markeredgewidth=2, zorder=3)
            axes.plot(x, y, marker=marker(place), color=shade, markersize=10, markeredgecolor=PAPER, zorder=4)
        axes.set(xscale="log", yscale="log")
        tick_words(axes.xaxis, caps if len(caps) <= 8 else word_steps(left, right))
        tick_words(axes.yaxis, word_steps(low, high))
        axes.set(xlim=(left, right), ylim=(low, high))
        axes.set(xlabel="longest training answer, words", ylabel="words written")

    fit = result.fit
    line = f" Solid: the fitted line, longest = {10**fit.intercept:.2f} x^{fit.slope:.2f}." if fit else ""
    caption = (
        "Marks: the longest answer of each trial; short bars below them: its median answer. Dashed: as long as the "
        f"longest training answer.{line} Both axes are logarithmic."
    )
    alt = "Longest answer against longest training answer. " + "; ".join(
        f"{point.outcome.label}: trained on up to {words(point.cap)}, longest {words(y)}, median {words(median)}"
        for (point, _, y), median in zip(spots, medians, strict=True)
    )
    return picture("Longest answer by longest training answer", caption, alt, draw, height=400, large_height=410,
                   places=list(dict.fromkeys(_place(m, places) for m, _, _ in spots)), is_large=True)  # fmt: skip


def _metric_figure(result: SweepResult, places: Mapping[str, int]) -> Picture:
    """The metric against a numeric setting, or a column for each value of another."""
    values = list(dict.fromkeys(setting.value for setting in result.settings))
    is_numeric = all(setting.x is not None for setting in result.settings) and len(values) > 1
    xs = [setting.x for setting in result.settings if setting.x is not None]
    is_log = is_numeric and min(xs) > 0 and max(xs) / min(xs) >= 10
    is_tied = len(result.settings) == len(values)  # any other setting follows from this one: they are one line

    def across(setting: Setting) -> float:
        return float(setting.x) if is_numeric and setting.x is not None else float(values.index(setting.value))

    lines: dict[str, list[Setting]] = {}
    for setting in sorted(result.settings, key=across):
        lines.setdefault("" if is_tied else setting.series, []).append(setting)

    def draw(figure: Any, is_narrow: bool) -> None:
        axes = figure.subplots()
        for number, (name, settings) in enumerate(lines.items()):
            own = [setting for setting in settings if setting.mean is not None]
            shade = colour(number) if len(lines) > 1 else INK
            if is_numeric or len(lines) > 1:
                axes.plot([across(each) for each in own], [each.mean for each in own], color=shade, linewidth=1.5)
            for setting in own:
                _draw_setting(axes, across(setting), setting, result.metric.name, shade, places)
            if len(lines) > 1 and own:
                axes.annotate(one_line(name, 28), (across(own[-1]), own[-1].mean), xytext=(8, 0), color=shade,
                              textcoords="offset points", va="center")  # fmt: skip
        _ticks(axes, values, [across(setting) for setting in result.settings], is_numeric=is_numeric, is_log=is_log)
        axes.set(xlabel=result.name if is_narrow else result.factor, ylabel=result.metric.title)

    caption = (
        "Means over prompts; bars are 95% bootstrap intervals over prompts."
        + (" Small marks: each seed." if any(len(setting.points) > 1 for setting in result.settings) else "")
        + (" The horizontal axis is logarithmic." if is_log else "")
    )
    alt = f"{result.metric.label} by {result.factor}. " + "; ".join(
        f"{setting.value} {setting.series}: {score(setting.mean, result.metric.decimals)}"
        for setting in result.settings
    )
    title = f"{result.metric.label} by {result.name}"
    return picture(title, caption, alt, draw, height=380, large_height=400, is_large=True)


def _draw_setting(axes: Any, x: float, setting: Setting, metric: str, shade: str, places: Mapping[str, int]) -> None:
    if setting.interval:
        axes.plot([x, x], setting.interval, color=shade, linewidth=1.6, zorder=2)
    if len(setting.points) > 1:
        for point in setting.points:
            mean = point.total.scores[metric].mean
            if mean is not None:
                axes.plot(x, mean, marker="o", color=shade, markersize=4.5, alpha=0.55, zorder=3)
    own = colour(_place(setting.points[0], places)) if shade == INK and len(setting.points) == 1 else shade
    axes.plot(x, setting.mean, marker="D", color=own, markersize=8.5, markeredgecolor=PAPER, zorder=4)


def _ticks(axes: Any, values: Sequence[str], xs: Sequence[float], *, is_numeric: bool, is_log: bool) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    if is_log:
        axes.set_xscale("log")
    if is_numeric:
        ordered = sorted(set(xs))
        if len(ordered) <= 8:
            axes.xaxis.set_major_locator(FixedLocator(ordered))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticklabels([f"{x:g}" for x in ordered])
        axes.margins(x=0.08)
    else:
        axes.set_xticks(range(len(values)), [one_line(value, 18) for value in values])
        axes.set_xlim(-0.6, len(values) - 0.4)
