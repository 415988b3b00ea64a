"""SLiC's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lwexp.extend import PreferenceForm, PreferenceLoss, register

if TYPE_CHECKING:
    from torch import Tensor


@register
class Hinge(PreferenceLoss):
    """max(0, 1 - beta d); 1 before the first update.

    Source: Zhao et al. 2023, SLiC.
    """

    kind: Literal["hinge"] = "hinge"

    def of(self, chosen: Tensor, rejected: Tensor, form: PreferenceForm) -> Tensor:
        """d is the difference of the log-ratios."""
        return (1 - form.beta * (chosen - rejected)).relu()
