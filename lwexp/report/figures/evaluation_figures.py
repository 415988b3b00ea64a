"""The figures of an evaluation: requested against produced words, the Ruler curve, scores, caps."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lwexp.pages.display import score, words
from lwexp.pages.drawing import INK, MUTED, PAPER, Picture, colour, marker, panels, picture, word_axes
from lwexp.records import MetricInfo
from lwexp.report.aggregation import Cell, RulerPoint, Score, ruler
from lwexp.report.cap_fit import fit_line
from lwexp.report.evaluations import Evaluation
from lwexp.text.plain import one_line

# More points only make a cloud, and each takes 80 bytes in each of the page's two drawings.
_MOST_POINTS = 2000
# With more models, cap lines and side-by-side lanes hide more than they show.
_MOST_LANES = 5
_TICK_NAME = 26
_HEIGHT = 390
_AXES = ("words asked for", "words written")


def evaluation_figures(
    evaluations: Sequence[Evaluation],
    metrics: Sequence[MetricInfo],
    *,
    is_stand_in: bool,
    with_cap: bool,
    common: Sequence[Cell] | None = None,
) -> list[Picture]:
    """The figures of one group.

    Args:
        evaluations: Models in the order of the report.
        metrics: Their metrics.
        is_stand_in: Whether judged scores come from the offline heuristic.
        with_cap: Whether to draw the longest answer by the longest training answer.
        common: Each model on the prompts that all models answered; None if all answered the same ones.
    """
    curves = [ruler(each.answers) for each in evaluations]
    found = [score_bars(evaluations, metrics, is_stand_in=is_stand_in, common=common)]
    if any(curves):  # some prompt asks for a length
        found = [scatter(evaluations), ruler_curve(evaluations, curves), *found]
    caps = {each.max_train_words for each in evaluations if each.max_train_words and each.total.n}
    return [cap_figure(evaluations), *found] if with_cap and len(caps) > 2 else found


def scatter(evaluations: Sequence[Evaluation]) -> Picture:
    """Every answer: words asked for against words written, on logarithmic axes."""
    answers = [
        [(a.response.required_words, a.response.words) for a in each.came if a.response.required_words]
        for each in evaluations
    ]
    stride = max(1, -(-sum(map(len, answers)) // _MOST_POINTS))
    lengths = sorted({x for pairs in answers for x, _ in pairs})
    low = min((min(x, y) for pairs in answers for x, y in pairs if y), default=1) * 0.8
    high = max(max(pair) for pairs in answers for pair in pairs) * 1.3
    closest = min((b / a for a, b in pairwise(lengths)), default=2.0)
    lane = min(1.15, closest ** (0.75 / len(evaluations)))
    has_caps = len(evaluations) <= _MOST_LANES and any(each.max_train_words for each in evaluations)

    def aside(index: int, number: int) -> float:
        """Shift models and answers a little around the requested length, so that they do not hide each other."""
        return float(lane ** (index - (len(evaluations) - 1) / 2 + 0.3 * (number * 7 % 11 / 5 - 1)))

    def draw(figure: Any, is_narrow: bool) -> None:
        axes = figure.subplots()
        word_axes(axes, _around(lengths), (low, high), *_AXES, ticks=_far_apart(lengths))
        for index, (each, pairs) in enumerate(zip(evaluations, answers, strict=True)):
            points = [(x * aside(index, n), max(y, low)) for n, (x, y) in enumerate(pairs[::stride])]
            axes.plot(
                *zip(*points, strict=True), linestyle="", marker=marker(each.place), color=colour(each.place),
                alpha=0.45, markersize=4.5, markeredgewidth=0,
            )  # fmt: skip
        if has_caps:
            _cap_lines(axes, evaluations, "in training" if is_narrow else "longest in training")

    empty = sum(y == 0 for pairs in answers for _, y in pairs)
    caption = (
        "Each mark is one answer; on the dashed line it has the length that was asked for."
        + (" Dotted: the longest answer in a model's training data." if has_caps else "")
        + (f" {empty:,} empty answers lie on the lower edge." if empty else "")
        + (f" One answer in {stride} is drawn." if stride > 1 else "")
    )
    alt = "Scatter of words written against words asked for. " + "; ".join(
        f"{each.label}: longest {words(each.longest)}, median {words(each.total.median_words)}" for each in evaluations
    )
    places = [each.place for each in evaluations]
    return picture("Asked for, and written", caption, alt, draw, height=_HEIGHT, places=places)


def _around(lengths: Sequence[int]) -> tuple[float, float]:
    """Limits of an axis with these lengths as ticks."""
    margin = 1.12 * (lengths[-1] / lengths[0]) ** 0.08
    return lengths[0] / margin, lengths[-1] * margin


def _far_apart(lengths: Sequence[int]) -> Sequence[int]:
    """The lengths as ticks; none where their labels would overlap."""
    return lengths if len(lengths) <= 7 and all(b / a > 1.25 for a, b in pairwise(lengths)) else ()


def _cap_lines(axes: Any, evaluations: Sequence[Evaluation], text: str) -> None:
    for each in evaluations:
        if not each.max_train_words or each.started_from:
            continue
        shade = colour(each.place)
        axes.axhline(each.max_train_words, color=shade, linewidth=1.3, linestyle=(0, (1.2, 2.2)))
        axes.annotate(
            f"{text} {words(each.max_train_words)}", (0, each.max_train_words), xycoords=("axes fraction", "data"),
            xytext=(3, 2), textcoords="offset points", va="bottom", color=shade,
            bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip


def ruler_curve(evaluations: Sequence[Evaluation], curves: Sequence[Sequence[RulerPoint]]) -> Picture:
    """Median and longest answer for each required length."""
    points = [point for curve in curves for point in curve]
    lengths = sorted({point.required for point in points})
    high = max(max(point.highest, point.required) for point in points) * 1.3
    low = min(min(max(1, point.median), point.required) for point in points) * 0.8
    has_longest = len(evaluations) <= _MOST_LANES

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        word_axes(axes, _around(lengths), (low, high), *_AXES, ticks=_far_apart(lengths))
        for each, curve in zip(evaluations, curves, strict=True):
            shade = colour(each.place)
            asked = [point.required for point in curve]
            medians = [max(low, point.median) for point in curve]
            highest = [max(low, point.highest) for point in curve]
            if has_longest:
                axes.fill_between(asked, medians, highest, color=shade, alpha=0.10, linewidth=0)
                axes.plot(asked, highest, color=shade, linewidth=1.1, linestyle=(0, (2, 2)))
            axes.plot(
                asked, medians, color=shade, linewidth=2.2, marker=marker(each.place),
                markersize=6.5, markeredgecolor=PAPER, markeredgewidth=1,
            )  # fmt: skip

    alt = "Median and longest answer for each length asked for. " + "; ".join(
        f"{each.label}: "
        + ", ".join(f"{p.required} asked, median {p.median:.0f}, longest {p.highest}" for p in curve[:8])
        for each, curve in zip(evaluations, curves, strict=True)
    )
    longest = " Thin, dashed: the longest." if has_longest else ""
    caption = f"Solid, with marks: the median answer.{longest} Grey: the length that was asked for."
    places = [each.place for each in evaluations]
    return picture("The Ruler curve", caption, alt, draw, height=_HEIGHT, places=places)


def score_bars(
    evaluations: Sequence[Evaluation],
    metrics: Sequence[MetricInfo],
    *,
    is_stand_in: bool,
    common: Sequence[Cell] | None = None,
) -> Picture:
    """Every score of each model with its interval: side by side, or stacked on a phone."""
    cells = [each.total for each in evaluations] if common is None else common
    parts = [m for m in metrics if any(part.scores[m.name].n for part in cells)] or [metrics[0]]

    def draw(figure: Any, is_narrow: bool) -> None:
        for axes, metric in zip(panels(figure, len(parts), is_narrow=is_narrow, sharey=True), parts, strict=True):
            low, high = metric.scale
            axes.set_title(metric.title + (" (stand-in)" if is_stand_in and metric.needs_judge else ""), pad=6)
            for index, (each, part) in enumerate(zip(evaluations, cells, strict=True)):
                _bar(axes, index, part.scores[metric.name], colour(each.place), metric)
            names = [_short(each.label, _TICK_NAME - 8 * is_narrow) for each in evaluations]
            axes.set_yticks(range(len(evaluations)), names)
            axes.set_ylim(len(evaluations) - 0.4, -0.6)
            axes.set_xlim(low, low + 1.16 * (high - low))
            axes.set_xticks([low + (high - low) * quarter / 4 for quarter in range(5)])
            axes.tick_params(axis="y", labelcolor=INK)
            axes.grid(False, axis="y")
            axes.spines["bottom"].set_visible(False)

    described = [
        f"{each.label}: " + ", ".join(f"{m.title} {score(part.scores[m.name].mean, m.decimals)}" for m in parts)
        for each, part in zip(evaluations, cells, strict=True)
    ]
    prompts = "prompts" if common is None else f"the {common[0].n_prompts:,} prompts that all models answered"
    caption = (
        f"Means over {prompts}; whiskers are 95% intervals. "
        "Missing and unscored answers are left out; they are not zeros."
    )
    height = 62 + 27 * len(evaluations)
    return picture(
        "Scores", caption, "Bars of scores. " + "; ".join(described), draw,
        height=height * len(parts), is_large=len(parts) > 1, large_height=height,
    )  # fmt: skip


def _short(name: str, limit: int) -> str:
    """A name cut in its middle, because long names of models often differ in their ends only."""
    line = one_line(name, 200)
    end = (limit - 1) // 2
    return line if len(line) <= limit else f"{line[: limit - 1 - end]}\N{HORIZONTAL ELLIPSIS}{line[-end:]}"


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


def cap_figure(evaluations: Sequence[Evaluation]) -> Picture:
    """Longest answer against longest training answer, which the paper names as the cause of short outputs."""
    spots = [
        (each, cap, max(1, each.longest), max(1.0, each.total.median_words or 0.0))
        for each in evaluations
        if (cap := each.max_train_words) and each.total.n
    ]
    fit = fit_line([(cap, longest) for _, cap, longest, _ in spots])
    caps = sorted({cap for _, cap, _, _ in spots})
    ends = 0.8 * caps[0], 1.25 * caps[-1]
    low = 0.72 * min(min(*own) for _, *own in spots)
    high = 1.4 * max(max(*own) for _, *own in spots)

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        word_axes(axes, ends, (low, high), "longest training answer, words", "words written", ticks=_far_apart(caps))
        if fit:
            axes.plot(ends, [fit.at(x) for x in ends], color=INK, linewidth=1.6, zorder=2)
        for each, cap, longest, median in spots:
            shade = colour(each.place)
            axes.plot([cap, cap], [median, longest], color=shade, linewidth=1.2, alpha=0.5, zorder=2)
            axes.plot(cap, median, marker="_", color=shade, markersize=11, markeredgewidth=2, zorder=3)
            axes.plot(
                cap, longest, marker=marker(each.place), color=shade, markersize=10, markeredgecolor=PAPER, zorder=4
            )

    line = f" Solid: the fitted line, longest = {10**fit.intercept:.2f} x^{fit.slope:.2f}." if fit else ""
    caption = (
        "Marks: the longest answer of each model; short bars below them: its median answer. Dashed: as long as the "
        f"longest training answer.{line} Both axes are logarithmic."
    )
    alt = "Longest answer against longest training answer. " + "; ".join(
        f"{each.label}: trained on up to {words(cap)}, longest {words(longest)}, median {words(median)}"
        for each, cap, longest, median in spots
    )
    places = list(dict.fromkeys(each.place for each, *_ in spots))
    return picture("Longest answer by longest training answer", caption, alt, draw, height=400, large_height=410,
                   places=places, is_large=True)  # fmt: skip
