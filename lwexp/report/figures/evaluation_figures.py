"""The figures of an evaluation: requested against produced words, the Ruler curve, scores, caps."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lwexp.pages.display import score, words
from lwexp.pages.drawing import INK, MUTED, PAPER, Picture, colour, marker, picture, tick_words, word_steps
from lwexp.records import MetricInfo
from lwexp.report.findings import Row
from lwexp.report.tables import RulerPoint, Score, ruler
from lwexp.text.plain import one_line

# With more points a scatter is a cloud, and each point takes 80 bytes of the page, twice.
_MOST_POINTS = 2000
# With more models, cap lines and side-by-side lanes hide more than they show.
_MOST_LANES = 5
_TICK_NAME = 26
_HEIGHT = 390


def evaluation_figures(rows: Sequence[Row], metrics: Sequence[MetricInfo], *, is_stand_in: bool) -> list[Picture]:
    curves = [ruler(row.evaluation.answers) for row in rows]
    found = [score_bars(rows, metrics, is_stand_in=is_stand_in)]
    if any(curves):  # some prompt asks for a length
        found = [scatter(rows), ruler_curve(rows, curves), *found]
    caps = {row.cap for row in rows if row.evaluation.max_train_words}
    return [cap_figure(rows), *found] if len(caps) > 2 else found


def scatter(rows: Sequence[Row]) -> Picture:
    """Every answer: words asked for against words written, on logarithmic axes."""
    answers = [
        [(a.response.required_words, a.response.words) for a in row.evaluation.answers if a.response.required_words]
        for row in rows
    ]
    stride = max(1, -(-sum(map(len, answers)) // _MOST_POINTS))
    lengths = sorted({x for pairs in answers for x, _ in pairs})
    low = min((min(x, y) for pairs in answers for x, y in pairs if y), default=1) * 0.8
    high = max(max(pair) for pairs in answers for pair in pairs) * 1.3
    closest = min((b / a for a, b in pairwise(lengths)), default=2.0)
    lane = min(1.15, closest ** (0.75 / len(rows)))

    def aside(index: int, number: int) -> float:
        """Models side by side around the length asked for, answers a little apart, or they hide each other."""
        return float(lane ** (index - (len(rows) - 1) / 2 + 0.3 * (number * 7 % 11 / 5 - 1)))

    def draw(figure: Any, is_narrow: bool) -> None:
        axes = figure.subplots()
        _identity(axes, low, high)
        for index, (row, pairs) in enumerate(zip(rows, answers, strict=True)):
            points = [(x * aside(index, n), max(y, low)) for n, (x, y) in enumerate(pairs[::stride])]
            axes.plot(
                *zip(*points, strict=True), linestyle="", marker=marker(row.place), color=colour(row.place),
                alpha=0.45, markersize=4.5, markeredgewidth=0,
            )  # fmt: skip
        if len(rows) <= _MOST_LANES:
            _cap_lines(axes, rows, "in training" if is_narrow else "longest in training")
        _word_axes(axes, lengths, low, high)
        axes.set(xlabel="words asked for", ylabel="words written")

    empty = sum(y == 0 for pairs in answers for _, y in pairs)
    caption = (
        "Each mark is one answer; on the dashed line it has the length that was asked for."
        + (" Dotted: the longest answer in a model's training data." if len(rows) <= _MOST_LANES else "")
        + (f" {empty:,} empty answers lie on the lower edge." if empty else "")
        + (f" One answer in {stride} is drawn." if stride > 1 else "")
    )
    alt = "Scatter of words written against words asked for. " + "; ".join(
        f"{row.label}: longest {words(row.longest)}, median {words(row.total.median_words)}" for row in rows
    )
    return picture("Asked for, and written", caption, alt, draw, height=_HEIGHT, places=[row.place for row in rows])


def _identity(axes: Any, low: float, high: float) -> None:
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1, dashes=(5, 4), zorder=1)


def _cap_lines(axes: Any, rows: Sequence[Row], text: str) -> None:
    for row in rows:
        if not row.evaluation.max_train_words or row.evaluation.objective == "dpo":
            continue
        axes.axhline(row.cap, color=colour(row.place), linewidth=1.3, linestyle=(0, (1.2, 2.2)))
        axes.annotate(
            f"{text} {words(row.cap)}", (0, row.cap), xycoords=("axes fraction", "data"),
            xytext=(3, 2), textcoords="offset points", va="bottom", color=colour(row.place),
            bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip


def ruler_curve(rows: Sequence[Row], curves: Sequence[Sequence[RulerPoint]]) -> Picture:
    """Median and longest answer for each required length."""
    points = [point for curve in curves for point in curve]
    high = max(max(point.highest, point.required) for point in points) * 1.3
    low = min(min(max(1, point.median), point.required) for point in points) * 0.8

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        _identity(axes, low, high)
        for row, curve in zip(rows, curves, strict=True):
            shade = colour(row.place)
            asked = [point.required for point in curve]
            medians = [max(low, point.median) for point in curve]
            highest = [max(low, point.highest) for point in curve]
            if len(rows) <= _MOST_LANES:
                axes.fill_between(asked, medians, highest, color=shade, alpha=0.10, linewidth=0)
                axes.plot(asked, highest, color=shade, linewidth=1.1, linestyle=(0, (2, 2)))
            axes.plot(
                asked, medians, color=shade, linewidth=2.2, marker=marker(row.place),
                markersize=6.5, markeredgecolor=PAPER, markeredgewidth=1,
            )  # fmt: skip
        _word_axes(axes, sorted({point.required for point in points}), low, high)
        axes.set(xlabel="words asked for", ylabel="words written")

    alt = "Median and longest answer for each length asked for. " + "; ".join(
        f"{row.label}: "
        + ", ".join(f"{p.required} asked, median {p.median:.0f}, longest {p.highest}" for p in curve[:8])
        for row, curve in zip(rows, curves, strict=True)
    )
    longest = " Thin, dashed: the longest." if len(rows) <= _MOST_LANES else ""
    caption = f"Solid, with marks: the median answer.{longest} Grey: the length that was asked for."
    return picture("The Ruler curve", caption, alt, draw, height=_HEIGHT, places=[row.place for row in rows])


def score_bars(rows: Sequence[Row], metrics: Sequence[MetricInfo], *, is_stand_in: bool) -> Picture:
    """Every score of each model with its interval: side by side, or stacked on a phone."""
    parts = [metric for metric in metrics if any(row.total.scores[metric.name].n for row in rows)] or [metrics[0]]

    def draw(figure: Any, is_narrow: bool) -> None:
        shape = (len(parts), 1) if is_narrow else (1, len(parts))
        panels = figure.subplots(*shape, squeeze=False, sharey=True).flat
        for axes, metric in zip(panels, parts, strict=True):
            low, high = metric.scale
            axes.set_title(metric.title + (" (stand-in)" if is_stand_in and metric.needs_judge else ""), pad=6)
            for index, row in enumerate(rows):
                _bar(axes, index, row.total.scores[metric.name], colour(row.place), metric)
            axes.set_yticks(range(len(rows)), [one_line(row.label, _TICK_NAME - 8 * is_narrow) for row in rows])
            axes.set_ylim(len(rows) - 0.4, -0.6)
            axes.set_xlim(low, low + 1.16 * (high - low))
            axes.set_xticks([low + (high - low) * quarter / 4 for quarter in range(5)])
            axes.tick_params(axis="y", labelcolor=INK)
            axes.grid(False, axis="y")
            axes.spines["bottom"].set_visible(False)

    described = [
        f"{row.label}: " + ", ".join(f"{m.title} {score(row.total.scores[m.name].mean, m.decimals)}" for m in parts)
        for row in rows
    ]
    caption = (
        "Means over prompts; whiskers are 95% bootstrap intervals over prompts. "
        "Unscored answers are left out; they are not zeros."
    )
    each = 62 + 27 * len(rows)
    return picture(
        "Scores", caption, "Bars of scores. " + "; ".join(described), draw,
        height=each * len(parts), is_large=len(parts) > 1, large_height=each,
    )  # fmt: skip


def _bar(axes: Any, index: int, value: Score, shade: str, metric: MetricInfo) -> None:
    low, high = metric.scale
    gap = 0.015 * (high - low)
    if value.mean is None:
        axes.text(low + gap, index, "not scored", va="center", color=MUTED)
        return
    axes.barh(index, value.mean - low, left=low, height=0.62, color=shade)
    right = value.mean
    if value.interval:
        axes.plot(value.interval, [index, index], color=INK, linewidth=1.4, solid_capstyle="butt")
        right = max(right, value.interval[1])
    axes.text(right + gap, index, score(value.mean, metric.decimals), va="center", color=INK)


def cap_figure(rows: Sequence[Row]) -> Picture:
    """Longest answer against longest training answer, which the paper names as the cause of short outputs."""
    trained = [row for row in rows if row.evaluation.max_train_words]
    high = max(max(row.cap, row.longest) for row in trained) * 1.3
    low = max(1, min(min(row.cap, row.longest) for row in trained)) * 0.75

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        _identity(axes, low, high)
        for row in trained:
            spot = (row.cap, max(low, row.longest))
            axes.plot(*spot, marker=marker(row.place), color=colour(row.place), markersize=9, markeredgecolor=PAPER)
            if len(trained) <= 2 * _MOST_LANES:
                axes.annotate(one_line(row.label, 20), spot, xytext=(8, -4), textcoords="offset points")
        _word_axes(axes, sorted({row.cap for row in trained}), low, high)
        axes.set(xlabel="longest answer in training, words", ylabel="longest answer written, words")

    alt = "Longest answer written against longest answer in training. " + "; ".join(
        f"{row.label}: trained on up to {row.cap}, wrote up to {row.longest}" for row in trained
    )
    caption = (
        "One mark a model. On the dashed line a model writes exactly as long as the longest answer it was trained on."
    )
    return picture(
        "The output cap", caption, alt, draw,
        height=_HEIGHT, places=[row.place for row in trained], is_large=True,
    )  # fmt: skip


def _word_axes(axes: Any, lengths: Sequence[int], low: float, high: float) -> None:
    """Logarithmic axes in words, ticked at the given lengths, or at 1-2-5 where those are many."""
    far_apart = len(lengths) <= 7 and all(b / a > 1.25 for a, b in pairwise(lengths))
    axes.set(xscale="log", yscale="log")
    tick_words(axes.xaxis, lengths if far_apart else word_steps(lengths[0], lengths[-1]))
    tick_words(axes.yaxis, word_steps(low, high))
    margin = 1.12 * (lengths[-1] / lengths[0]) ** 0.08
    axes.set(xlim=(lengths[0] / margin, lengths[-1] * margin), ylim=(low, high))
