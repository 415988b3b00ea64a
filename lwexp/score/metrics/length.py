"""S_l: how close an answer comes to the length that was asked for."""

from typing import Literal

from lwexp.extend import register
from lwexp.extend.metric import ComputedMetric
from lwexp.records import Response
from lwexp.text.words import score_length


@register
class LengthMetric(ComputedMetric):
    """Source: the paper, section 2.2."""

    kind: Literal["length"] = "length"
    name = "S_l"
    title = "S_l, length"
    meaning = (
        "Length. For l words asked for and y written: 100 \N{MULTIPLICATION SIGN} max(0, 1 - (y/l - 1)/3) if too long, "
        "100 \N{MULTIPLICATION SIGN} max(0, 1 - (l/y - 1)/2) if too short, 0 for an empty answer."
    )
    needs_length = True

    def score(self, response: Response) -> float:
        """100 for the length asked for, 0 for an empty answer."""
        assert response.required_words is not None, "a metric that needs a length is not asked without one"
        return score_length(response.required_words, response.words)
