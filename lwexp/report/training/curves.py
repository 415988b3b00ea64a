"""The curves of one training run as figures."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lwexp.extend.objective import Watched
from lwexp.pages.drawing import Picture
from lwexp.report.figures.training_figures import LONG, lines
from lwexp.report.figures.training_metrics import Curve, curve, long_shares
from lwexp.runs.summaries import MetricsRow

TRAINED, HELD_OUT = "training", "held out"
_LOSS = Watched("Loss", "By optimiser step; the mean negative log-likelihood of a target token, in nats.", "loss")
_TERMS = Watched("Loss", "By optimiser step; what the optimiser minimises, all terms together.", "loss")
_OTHERS = {
    "lr": Watched("Learning rate", "Of each step, by the schedule.", "learning rate"),
    "grad_norm": Watched("Gradient norm", "Over all weights, before clipping.", "L2 norm"),
    "tokens_per_second": Watched("Speed", "Tokens of all ranks together, since the row before.", "tokens a second"),
    "mfu_packed": Watched(
        "Model FLOPs utilisation", "FLOPs of the model, attention within documents only, by the peak in bf16.", "MFU"
    ),
    "peak_memory_gib": Watched(
        "Peak memory", "Of rank 0 up to each step: what torch allocated on the GPU, else resident memory.", "GiB"
    ),
}


class Lines(NamedTuple):
    """One figure's data."""

    about: Watched
    curves: dict[int, Curve]
    """0 for training and 1 for held-out documents -> points (step, value)."""
    chance: float | None = None
    """Of a share: what a guess would reach."""


def lines_of(rows: Sequence[MetricsRow], held_out: Sequence[MetricsRow], watched: Mapping[str, Watched]) -> list[Lines]:
    """What there is to draw, in the order of the page; columns without data are left out.

    Args:
        rows: Rows of metrics.jsonl.
        held_out: Rows of validation.jsonl.
        watched: What the objective shows, by column of metrics.jsonl.
    """
    found = [
        Lines(_TERMS if watched else _LOSS, {0: curve(rows, "loss"), 1: curve(held_out, "loss")}),
        *(
            Lines(about, {0: curve(rows, column)}, 0.5 if column == "accuracy" else None)
            for column, about in {**watched, **_OTHERS}.items()
        ),
        Lines(LONG, {0: long_shares(rows)}),
    ]
    return [each for each in found if any(each.curves.values())]


def curves(rows: Sequence[MetricsRow], held_out: Sequence[MetricsRow], watched: Mapping[str, Watched]) -> list[Picture]:
    """The same as figures."""
    drawn = (lines(each.about, each.curves, each.chance, is_quick=True) for each in lines_of(rows, held_out, watched))
    return [figure for figure in drawn if figure is not None]
