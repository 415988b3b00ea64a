"""S_l: how close an answer comes to the length that was asked for."""

from __future__ import annotations

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
    meaning = "How close an answer comes to the words asked for; 100 at exactly as many, 0 at a third or four times."
    needs_length = True

    def score(self, response: Response) -> float:
        """100 for the length asked for, 0 for an empty answer."""
        assert response.required_words is not None, "a metric that needs a length is not asked without one"
        return score_length(response.required_words, response.words)
