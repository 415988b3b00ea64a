"""S-bar: the mean of S_l and S_q."""

from typing import Literal

from lwexp.extend import register
from lwexp.extend.metric import Metric


@register
class MeanMetric(Metric):
    """The mean for an answer that has both scores. Source: the paper, section 4.1."""

    kind: Literal["mean"] = "mean"
    name = "S_bar"
    label = "S-bar"
    title = "S-bar, both"
    meaning = "The mean of S_l and S_q, of answers that have both."
    needs_length = True
    needs_judge = True
    of = ("length", "quality")
