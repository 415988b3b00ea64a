"""The figure of docs/study/real_model.md."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from benchmarks.real_model.study import STATISTICS, Study
from lwexp.pages.drawing import INK, Picture, colour, panels, picture, tick_words, word_axes


def study_figure(study: Study) -> Picture:
    """Left: lengths against the cap. Right: words written against words asked for."""
    caps = [setting.trained_up_to or 0 for setting in study.trained]
    asked = sorted(study.settings[0].by_request())

    def draw(figure: Any, is_narrow: bool) -> None:
        left, right = panels(figure, 2, is_narrow=is_narrow)
        values = [y for setting in study.settings for name in STATISTICS for y in setting.values(name)]
        values += [mean for setting in study.settings for mean in setting.by_request().values()]
        ends = 0.7 * min(*values, *caps, *asked), 1.4 * max(*values, *asked)
        word_axes(left, (0.7 * caps[0], 1.4 * caps[-1]), ends, "longest training answer, words", "words", ticks=caps)
        for number, name in enumerate(STATISTICS):
            points = [(setting.trained_up_to, y) for setting in study.trained for y in setting.values(name)]
            across, up = zip(*points, strict=True)
            left.plot(across, up, linestyle="", marker="os^D"[number], color=colour(number), label=name)
        word_axes(right, (0.7 * asked[0], 1.4 * asked[-1]), ends, "words asked for", "mean words written", ticks=asked)
        tick_words(right.yaxis, asked)
        for number, setting in enumerate(study.settings):
            means = setting.by_request()
            shade = INK if setting.trained_up_to is None else colour(number + len(STATISTICS))
            right.plot(list(means), list(means.values()), marker="o", color=shade, label=setting.label)
        for axes in (left, right):
            axes.legend(frameon=False, fontsize=9)

    title = "Words that SmolLM2-135M writes, by the longest answer in its SFT data"
    alt = (
        title
        + ". "
        + "; ".join(
            f"{setting.label}: " + ", ".join(f"{name} {fmean(setting.values(name)):,.0f}" for name in STATISTICS)
            for setting in study.settings
        )
    )
    return picture(title, "", alt, draw, height=640, large_height=360, is_large=True)
