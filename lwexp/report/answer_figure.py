"""The figure that answers a sweep's question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.report.answer import Answer, Level, Mark
from lwexp.report.display import one_line, score, words
from lwexp.report.drawing import INK, MUTED, PAPER, Picture, colour, marker, picture, tick_words, word_steps

_NAMES = {"S_l": "S_l, length", "S_bar": "S-bar, length and quality"}


def answer_figure(answer: Answer, places: Mapping[str, int]) -> Picture:
    """The cap figure, or the metric by the varied setting.

    Args:
        answer: With at least one evaluated trial.
        places: Label of a trial's model -> its place in the report, which is its colour.
    """
    return _cap_figure(answer, places) if answer.is_cap else _metric_figure(answer, places)


def _place(mark: Mark, places: Mapping[str, int]) -> int:
    assert mark.outcome.evaluation is not None
    return places.get(mark.outcome.evaluation.label, 0)


def _cap_figure(answer: Answer, places: Mapping[str, int]) -> Picture:
    spots = [(mark, float(mark.cap or 1), max(1, mark.total.max_words or 0)) for mark in answer.marks]
    medians = [max(1.0, mark.total.median_words or 0.0) for mark in answer.marks]
    low = 0.72 * min(*(min(x, y) for _, x, y in spots), *medians)
    high = 1.4 * max(max(x, y) for _, x, y in spots)
    caps = sorted({round(x) for _, x, _ in spots})
    left, right = 0.8 * caps[0], 1.25 * caps[-1]

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        axes.plot([left, right], [left, right], color=MUTED, linewidth=1, dashes=(5, 4), zorder=1)
        if answer.fit:
            axes.plot([left, right], [answer.fit.at(left), answer.fit.at(right)], color=INK, linewidth=1.6, zorder=2)
        for (mark, x, y), median in zip(spots, medians, strict=True):
            shade = colour(_place(mark, places))
            axes.plot([x, x], [median, y], color=shade, linewidth=1.2, alpha=0.5, zorder=2)
            axes.plot(x, median, marker="_", color=shade, markersize=11, markeredgewidth=2, zorder=3)
            axes.plot(
                x, y, marker=marker(_place(mark, places)), color=shade, markersize=10, markeredgecolor=PAPER, zorder=4
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        tick_words(axes.xaxis, caps if len(caps) <= 8 else word_steps(left, right))
        tick_words(axes.yaxis, word_steps(low, high))
        axes.set_xlim(left, right)
        axes.set_ylim(low, high)
        axes.set_xlabel("longest training answer, words")
        axes.set_ylabel("words written")

    line = (
        f" Solid: the fitted line, longest = {10**answer.fit.intercept:.2f} x^{answer.fit.slope:.2f}."
        if answer.fit
        else ""
    )
    caption = (
        "Marks: the longest answer of each trial; short bars below them: its median answer. Dashed: as long as the "
        f"longest training answer.{line} Both axes are logarithmic."
    )
    alt = "Longest answer against longest training answer. " + "; ".join(
        f"{mark.outcome.label}: trained on up to {words(mark.cap)}, longest {words(y)}, median {words(median)}"
        for (mark, _, y), median in zip(spots, medians, strict=True)
    )
    return picture("Longest answer by longest training answer", caption, alt, draw, height=400, large_height=410,
                   keys=list(dict.fromkeys(_place(m, places) for m, _, _ in spots)), is_large=True)  # fmt: skip


def _metric_figure(answer: Answer, places: Mapping[str, int]) -> Picture:
    """The metric against a numeric setting, or a column for each value of another."""
    values = list(dict.fromkeys(level.value for level in answer.levels))
    is_numeric = all(level.x is not None for level in answer.levels) and len(values) > 1
    xs = [level.x for level in answer.levels if level.x is not None]
    is_log = is_numeric and min(xs) > 0 and max(xs) / min(xs) >= 10
    is_tied = len(answer.levels) == len(values)  # any other setting follows from this one: they are one line

    def across(level: Level) -> float:
        return float(level.x) if is_numeric and level.x is not None else float(values.index(level.value))

    lines: dict[str, list[Level]] = {}
    for level in sorted(answer.levels, key=across):
        lines.setdefault("" if is_tied else level.series, []).append(level)

    def draw(figure: Any, is_narrow: bool) -> None:
        axes = figure.subplots()
        for number, (name, levels) in enumerate(lines.items()):
            own = [level for level in levels if level.mean is not None]
            shade = colour(number) if len(lines) > 1 else INK
            if is_numeric or len(lines) > 1:
                axes.plot([across(level) for level in own], [level.mean for level in own], color=shade, linewidth=1.5)
            for level in own:
                _draw_level(axes, across(level), level, answer.metric, shade, places)
            if len(lines) > 1 and own:
                axes.annotate(one_line(name, 28), (across(own[-1]), own[-1].mean), xytext=(8, 0), color=shade,
                              textcoords="offset points", va="center")  # fmt: skip
        _ticks(axes, values, [across(level) for level in answer.levels], is_numeric=is_numeric, is_log=is_log)
        axes.set_xlabel(answer.name if is_narrow else answer.factor)
        axes.set_ylabel(_NAMES[answer.metric])

    caption = (
        "Means over prompts; bars are 95% bootstrap intervals over prompts."
        + (" Small marks: each seed." if any(len(level.marks) > 1 for level in answer.levels) else "")
        + (" The horizontal axis is logarithmic." if is_log else "")
    )
    alt = f"{answer.metric} by {answer.factor}. " + "; ".join(
        f"{level.value} {level.series}: {score(level.mean)}" for level in answer.levels
    )
    title = f"{'S-bar' if answer.metric == 'S_bar' else 'S_l'} by {answer.name}"
    return picture(title, caption, alt, draw, height=380, large_height=400, is_large=True)


def _draw_level(axes: Any, x: float, level: Level, metric: str, shade: str, places: Mapping[str, int]) -> None:
    if level.interval:
        axes.plot([x, x], level.interval, color=shade, linewidth=1.6, zorder=2)
    if len(level.marks) > 1:
        for mark in level.marks:
            mean = mark.total.scores[metric].mean
            if mean is not None:
                axes.plot(x, mean, marker="o", color=shade, markersize=4.5, alpha=0.55, zorder=3)
    own = colour(_place(level.marks[0], places)) if shade == INK and len(level.marks) == 1 else shade
    axes.plot(x, level.mean, marker="D", color=own, markersize=8.5, markeredgecolor=PAPER, zorder=4)


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
