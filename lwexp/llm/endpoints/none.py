"""No judge."""

from typing import Literal

from lwexp.extend.endpoint import Judge
from lwexp.extend.registry import register


@register
class NoJudge(Judge):
    """Lengths only: no answer gets an S_q, and tables say so."""

    kind: Literal["none"] = "none"
