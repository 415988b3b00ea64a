"""The figure of what happens along a text: repetition, distinctness and quality, part by part."""

from collections.abc import Sequence
from typing import Any

from lwexp.pages.drawing import PAPER, Picture, colour, marker, picture
from lwexp.report.diagnostics import MEASURES, Point, by_position
from lwexp.report.findings import Row

_TITLES = {"repeated": "repeated 4-grams, share", "distinct": "different 2-grams, share", "quality": "S_q of the part"}
_SENTENCE = {
    "repeated": "share of 4-grams that stand earlier in the answer",
    "distinct": "share of different 2-grams, over windows of 100 words",
    "quality": "S_q of the part by itself",
}


def along_the_text(rows: Sequence[Row]) -> list[Picture]:
    """One figure with a panel for each measure; nothing where no evaluation has positions."""
    found = {row.place: by_position(row.evaluation.answers, row.evaluation.diagnostics) for row in rows}
    measures = [m for m in MEASURES if any(len(points.get(m, {})) > 1 for points in found.values())]
    if not measures:
        return []

    def draw(figure: Any, is_narrow: bool) -> None:
        shape = (len(measures), 1) if is_narrow else (1, len(measures))
        panels = figure.subplots(*shape, squeeze=False)
        for panel, measure in zip(panels.flat, measures, strict=True):
            for row in rows:
                _draw_line(panel, row.place, found[row.place].get(measure, {}))
            panel.set_title(_TITLES[measure])
            panel.set_xlabel("part of the answer")
            last = max(max(points.get(measure, {0: None})) for points in found.values())
            panel.set_xticks(range(last + 1), [str(part + 1) for part in range(last + 1)])
            panel.margins(x=0.06)

    parts = []
    for row in rows:
        for measure in measures:
            points = found[row.place].get(measure, {})
            if points:
                ends = points[min(points)].mean, points[max(points)].mean
                parts.append(f"{row.label}, {_SENTENCE[measure]}: {ends[0]:.2f} first, {ends[1]:.2f} last")
    caption = (
        "Each answer is cut into parts of equal length; means over prompts, bars are 95% bootstrap intervals. "
        + "; ".join(f"{_TITLES[m].split(',')[0]}: {_SENTENCE[m]}" for m in measures)
        + "."
    )
    height = 290
    return [
        picture(
            "Along the text", caption, "Measures by part of the answer. " + "; ".join(parts), draw,
            height=height * len(measures), large_height=height, places=[row.place for row in rows], is_large=True,
        )
    ]  # fmt: skip


def _draw_line(panel: Any, place: int, points: dict[int, Point]) -> None:
    if not points:
        return
    parts = sorted(points)
    shade = colour(place)
    for part in parts:
        if points[part].interval is not None:
            panel.plot([part, part], points[part].interval, color=shade, linewidth=1.2, alpha=0.7)
    panel.plot(
        parts, [points[part].mean for part in parts], color=shade, linewidth=2, marker=marker(place),
        markersize=6.5, markeredgecolor=PAPER, markeredgewidth=1,
    )  # fmt: skip
