"""The figures of training: loss, its weight on long documents, each objective's curves, lengths of training answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.extend.objective import Watched
from lwexp.pages.display import words
from lwexp.pages.drawing import MUTED, Picture, colour, picture, tick_words, word_steps
from lwexp.report.evaluations import Evaluation
from lwexp.report.figures.training_metrics import Curve, curve, long_shares, training_rows

_BINS = 18
_LOSS = Watched(
    "Training loss", "By optimiser step. For SFT, the mean negative log-likelihood of a target token.", "loss"
)
LONG = Watched(
    "Loss weight of long documents",
    "Up to each step. Long documents are the longest ones, which together hold half of all target tokens.",
    "share of the loss's weight",
)


def training_figures(models: Sequence[Evaluation]) -> list[Picture]:
    """Figures of the training runs; a figure without data is left out.

    An objective that declares its own columns is shown by these instead of its loss, which may be a sum of terms.
    """
    trained = {each.place: each.train for each in models if each.train}
    rows = {place: training_rows(run.path) for place, run in trained.items()}
    watched = {place: run.config.objective.watched() if run.config else {} for place, run in trained.items()}
    columns: dict[str, Watched] = {}
    for own in watched.values():
        columns = own | columns
    found = [
        lines(_LOSS, {place: curve(own, "loss") for place, own in rows.items() if not watched[place]}),
        lines(LONG, {place: long_shares(own) for place, own in rows.items()}),
        *(
            lines(about, {place: curve(own, column) for place, own in rows.items() if column in watched[place]},
                   chance=0.5 if column == "accuracy" else None)
            for column, about in columns.items()
        ),
    ]  # fmt: skip
    drawn = [figure for figure in found if figure is not None]
    # A figure without a neighbour fills the whole row.
    lengths = {each.place: [n for n in each.mixture.answer_words if n > 0] for each in models if each.mixture}
    histogram = _lengths({place: own for place, own in lengths.items() if own}, is_large=len(drawn) % 2 == 0)
    return [*drawn, histogram] if histogram else drawn


def lines(
    about: Watched, curves: Mapping[int, Curve], chance: float | None = None, *, is_quick: bool = False
) -> Picture | None:
    """Curves by step in one figure; None where no curve has a point.

    Args:
        about: Title, caption and unit.
        curves: Place of the colour -> points.
        chance: For a share from 0 to 1: where to draw a line that marks chance.
        is_quick: Use fixed margins, which halves the time: matplotlib need not draw twice to fit the labels.
    """
    drawn = {place: points for place, points in curves.items() if points}
    if not drawn:
        return None

    def draw(figure: Any, _: bool) -> None:
        if is_quick:
            width, height = 72 * figure.get_size_inches()
            figure.set_layout_engine("none")
            axes = figure.add_axes((64 / width, 42 / height, 1 - 76 / width, 1 - 62 / height))
        else:
            axes = figure.subplots()
        for place, points in drawn.items():
            axes.plot(*zip(*points, strict=True), color=colour(place), linewidth=1.8,
                      marker="o" if len(points) == 1 else "")  # fmt: skip
        if chance is not None:
            axes.axhline(chance, color=MUTED, linewidth=1, dashes=(5, 4))
            axes.set_ylim(0, 1.03)
        axes.set(xlabel="optimiser step", ylabel=about.unit)
        axes.margins(x=0.02)
        axes.ticklabel_format(axis="y", useOffset=False)  # 41,200 and not 200 with "+4.1e4" above the axis

    ends = "; ".join(f"{points[0][1]:.3g} at the start, {points[-1][1]:.3g} at the end" for points in drawn.values())
    alt = f"{about.title} by step: {ends}"
    return picture(about.title, about.caption, alt, draw, height=280, places=list(drawn))


def _lengths(lengths: Mapping[int, list[int]], *, is_large: bool) -> Picture | None:
    """Histogram on a logarithmic axis, as shares, so that mixtures of different size compare."""
    if not lengths:
        return None
    low, high = min(map(min, lengths.values())), max(map(max, lengths.values()))
    ratio = max(high / low, 1.01)
    edges = [low * ratio ** (step / _BINS) for step in range(_BINS)] + [high * 1.001]

    def draw(figure: Any, _: bool) -> None:
        from matplotlib.ticker import PercentFormatter

        axes = figure.subplots()
        axes.set_xscale("log")
        for place, found in lengths.items():
            share = {"bins": edges, "weights": [1 / len(found)] * len(found), "color": colour(place)}
            axes.hist(found, histtype="stepfilled", alpha=0.12, **share)
            axes.hist(found, histtype="step", linewidth=1.8, **share)
        tick_words(axes.xaxis, word_steps(low, high))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set(xlabel="words of a training answer", ylabel="share of answers")

    described = "; ".join(f"from {words(min(found))} to {words(max(found))} words" for found in lengths.values())
    return picture(
        "Length of the training answers",
        "What each model was trained on, as shares of its own mixture; for preference pairs, the chosen answers.",
        f"Histogram of training answer lengths: {described}", draw, height=280, places=list(lengths), is_large=is_large,
    )  # fmt: skip
