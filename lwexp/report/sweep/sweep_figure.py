"""The figure that answers a sweep's question."""

from collections.abc import Sequence
from typing import Any

from lwexp.pages.display import score
from lwexp.pages.drawing import INK, PAPER, Picture, colour, picture
from lwexp.report.figures.evaluation_figures import cap_figure
from lwexp.report.sweep.sweep_analysis import Setting, SweepResult
from lwexp.text.plain import one_line


def sweep_figure(result: SweepResult) -> Picture:
    """The cap figure, or the metric against a numeric setting, or one column for each value of any other setting."""
    if result.is_cap:
        return cap_figure(result.evaluations)
    values = list(dict.fromkeys(setting.value for setting in result.settings))
    is_numeric = result.is_numeric and len(values) > 1
    xs = sorted({setting.x for setting in result.settings if setting.x is not None})
    is_log = is_numeric and xs[0] > 0 and xs[-1] / xs[0] >= 10
    is_tied = len(result.settings) == len(values)  # one setting for each value, so one line
    metric = result.metric

    def across(setting: Setting) -> float:
        return setting.x if is_numeric and setting.x is not None else float(values.index(setting.value))

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
                _draw_setting(axes, across(setting), setting, metric.name, shade)
            if len(lines) > 1 and own:
                axes.annotate(one_line(name, 28), (across(own[-1]), own[-1].mean), xytext=(8, 0), color=shade,
                              textcoords="offset points", va="center")  # fmt: skip
        _ticks(axes, values, xs if is_numeric else None, is_log=is_log)
        axes.set(xlabel=result.name if is_narrow else result.factor, ylabel=metric.title)

    caption = (
        "Means over prompts; bars are 95% intervals over prompts."
        + (" Small marks: each seed." if any(len(setting.evaluations) > 1 for setting in result.settings) else "")
        + (" The horizontal axis is logarithmic." if is_log else "")
    )
    alt = f"{metric.label} by {result.factor}. " + "; ".join(
        f"{setting.value} {setting.series}: {score(setting.mean, metric.decimals)}" for setting in result.settings
    )
    title = f"{metric.label} by {result.name}"
    return picture(title, caption, alt, draw, height=380, large_height=400, is_large=True)


def _draw_setting(axes: Any, x: float, setting: Setting, metric: str, shade: str) -> None:
    if setting.interval:
        axes.plot([x, x], setting.interval, color=shade, linewidth=1.6, zorder=2)
    seeds = [each.total.scores[metric].mean for each in setting.evaluations]
    if len(seeds) > 1:
        known = [mean for mean in seeds if mean is not None]
        axes.plot([x] * len(known), known, linestyle="", marker="o", color=shade, markersize=4.5, alpha=0.55, zorder=3)
    own = colour(setting.evaluations[0].place) if shade == INK and len(seeds) == 1 else shade
    axes.plot(x, setting.mean, marker="D", color=own, markersize=8.5, markeredgecolor=PAPER, zorder=4)


def _ticks(axes: Any, values: Sequence[str], xs: Sequence[float] | None, *, is_log: bool) -> None:
    """``xs``: the settings as numbers; None for a column per value."""
    if xs is None:
        axes.set_xticks(range(len(values)), [one_line(value, 18) for value in values])
        axes.set_xlim(-0.6, len(values) - 0.4)
        return
    if is_log:
        axes.set_xscale("log")
    if len(xs) <= 8:
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.set_xticks([], minor=True)
    axes.margins(x=0.08)
