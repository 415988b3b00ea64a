"""The figures of training: loss and what it weighs, DPO's margin, accuracy and drift, lengths of training answers."""

from collections.abc import Mapping
from typing import Any

from lwexp.pages.display import words
from lwexp.pages.drawing import MUTED, Picture, colour, picture, tick_words, word_steps
from lwexp.report.evaluations import Evaluation
from lwexp.report.figures.training_metrics import Curve, curve, long_shares
from lwexp.runs.artifacts import METRICS
from lwexp.runs.summaries import read_metrics

_BINS = 18
# Title, caption, column of metrics.jsonl, unit.
_CURVES = (
    ("Training loss", "SFT: mean negative log-likelihood of a target token, by optimiser step.", "loss", "loss"),
    ("Loss weight of long documents",
     "Up to each step. Long documents are the longest ones, which together hold half of all target tokens.",
     "long_share", "share of the loss's weight"),
    ("Preference loss", "Without the NLL term. Where the model is still its own reference, sigmoid gives "
     "ln 2 = 0.69, hinge 1, ipo 1/(4 beta^2).", "preference_loss", "loss"),
    ("DPO margin", "How much more the model prefers the chosen answer than its reference does.", "margin",
     "reward margin"),
    ("DPO accuracy", "Share of pairs in which the chosen answer is preferred; 0.5 is chance.", "accuracy",
     "share of pairs"),
    ("KL from the reference", "The reference's log-prob of an answer minus the policy's, over both answers "
     "of a pair. An estimate where the answers are the reference's own, but a selection of them.", "kl", "nats"),
)  # fmt: skip


def training_figures(evaluations: Mapping[int, Evaluation]) -> list[Picture]:
    """What the training runs left behind; a figure without data is left out.

    Args:
        evaluations: Place in the report, which is its colour -> a model.
    """
    metrics = {i: read_metrics(e.train.path / METRICS) for i, e in evaluations.items() if e.train}
    dpo = {i for i, e in evaluations.items() if e.objective == "dpo"}
    curves = {title: {i: long_shares(rows) if key == "long_share" else curve(rows, key)
                      for i, rows in metrics.items() if title != "Training loss" or i not in dpo}
              for title, _, key, _ in _CURVES}  # fmt: skip
    found = [_lines(title, caption, key, unit, curves[title]) for title, caption, key, unit in _CURVES]
    drawn = [figure for figure in found if figure is not None]
    # A figure alone in its row takes the whole of it.
    words_of = {i: [n for n in e.mixture.answer_words if n > 0] for i, e in evaluations.items() if e.mixture}
    lengths = _lengths(words_of, is_large=len(drawn) % 2 == 0)
    return [*drawn, lengths] if lengths else drawn


def _lines(title: str, caption: str, key: str, unit: str, curves: dict[int, Curve]) -> Picture | None:
    drawn = {index: points for index, points in curves.items() if points}
    if not drawn:
        return None

    def draw(figure: Any, _: bool) -> None:
        axes = figure.subplots()
        for index, points in drawn.items():
            axes.plot(*zip(*points, strict=True), color=colour(index), linewidth=1.8,
                      marker="o" if len(points) == 1 else "")  # fmt: skip
        if key == "accuracy":
            axes.axhline(0.5, color=MUTED, linewidth=1, dashes=(5, 4))
            axes.set_ylim(0, 1.03)
        axes.set(xlabel="optimiser step", ylabel=unit)
        axes.margins(x=0.02)

    ends = "; ".join(f"{points[0][1]:.3g} at the start, {points[-1][1]:.3g} at the end" for points in drawn.values())
    return picture(title, caption, f"{title} by step: {ends}", draw, height=280, places=list(drawn))


def _lengths(lengths: Mapping[int, list[int]], *, is_large: bool) -> Picture | None:
    """Histogram on a logarithmic axis, as shares, so that mixtures of different size compare."""
    drawn = {index: found for index, found in lengths.items() if found}
    if not drawn:
        return None
    low = min(min(found) for found in drawn.values())
    high = max(max(found) for found in drawn.values())
    ratio = max(high / low, 1.01)
    edges = [low * ratio ** (step / _BINS) for step in range(_BINS + 1)]
    edges[-1] = high * 1.001

    def draw(figure: Any, _: bool) -> None:
        from matplotlib.ticker import FuncFormatter

        axes = figure.subplots()
        axes.set_xscale("log")
        for index, found in drawn.items():
            share = {"bins": edges, "weights": [1 / len(found)] * len(found), "color": colour(index)}
            axes.hist(found, histtype="stepfilled", alpha=0.12, **share)
            axes.hist(found, histtype="step", linewidth=1.8, **share)
        tick_words(axes.xaxis, word_steps(low, high))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axes.set(xlabel="words of a training answer", ylabel="share of answers")

    described = "; ".join(f"from {words(min(f))} to {words(max(f))} words" for f in drawn.values())
    return picture(
        "Length of the training answers",
        "What each model was trained on, as shares of its own mixture; for DPO, the chosen answers.",
        f"Histogram of training answer lengths: {described}", draw, height=280, places=list(drawn), is_large=is_large,
    )  # fmt: skip
