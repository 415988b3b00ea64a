"""The figure of repetition, distinctness and quality by position in the text."""

from collections.abc import Sequence
from typing import Any

from lwexp.pages.drawing import PAPER, Picture, colour, marker, panels, picture
from lwexp.report.diagnostics import MEASURES, Point, by_position
from lwexp.report.evaluations import Evaluation

_TITLES = {"repeated": "repeated 4-grams, share", "distinct": "different 2-grams, share", "quality": "S_q of the part"}
_SENTENCE = {
    "repeated": "share of 4-grams that occur earlier in the answer",
    "distinct": "share of different 2-grams, over windows of 100 words",
    "quality": "S_q of the part by itself",
}
_HEIGHT = 290


def position_figure(evaluations: Sequence[Evaluation]) -> list[Picture]:
    """One figure with a panel for each measure; empty if no evaluation has positions."""
    found = {each.place: by_position(each.answers, each.diagnostics) for each in evaluations}
    measures = [m for m in MEASURES if any(len(points.get(m, {})) > 1 for points in found.values())]
    if not measures:
        return []

    def draw(figure: Any, is_narrow: bool) -> None:
        from matplotlib.ticker import MaxNLocator

        for panel, measure in zip(panels(figure, len(measures), is_narrow=is_narrow), measures, strict=True):
            for place, points in found.items():
                _draw_line(panel, place, points.get(measure, {}))
            panel.set_title(_TITLES[measure])
            panel.set_xlabel("part of the answer")
            last = max(max(points.get(measure, {0: None})) for points in found.values())
            panel.set_xticks(range(last + 1), [str(part + 1) for part in range(last + 1)])
            panel.margins(x=0.06)
            # Without steps of 2.5, which labels of two decimals would show as uneven: 0.82, 0.85, 0.87.
            panel.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))

    ends = [
        f"{each.label}, {_SENTENCE[m]}: {points[min(points)].mean:.2f} first, {points[max(points)].mean:.2f} last"
        for each in evaluations
        for m in measures
        if (points := found[each.place].get(m, {}))
    ]
    caption = (
        "Each answer is cut into parts of equal length; means over prompts, bars are 95% intervals. "
        + "; ".join(f"{_TITLES[m].split(',')[0]}: {_SENTENCE[m]}" for m in measures)
        + "."
    )
    alt = "Measures by part of the answer. " + "; ".join(ends)
    return [picture("Along the text", caption, alt, draw, height=_HEIGHT * len(measures), large_height=_HEIGHT,
                    places=list(found), is_large=True)]  # fmt: skip


def _draw_line(panel: Any, place: int, points: dict[int, Point]) -> None:
    shade, parts = colour(place), sorted(points)
    for part in parts:
        if points[part].interval is not None:
            panel.plot([part, part], points[part].interval, color=shade, linewidth=1.2, alpha=0.7)
    panel.plot(
        parts, [points[part].mean for part in parts], color=shade, linewidth=2, marker=marker(place),
        markersize=6.5, markeredgecolor=PAPER, markeredgewidth=1,
    )  # fmt: skip
