"""IPO's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lwexp.extend import PreferenceForm, PreferenceLoss, register

if TYPE_CHECKING:
    from torch import Tensor


@register
class IPO(PreferenceLoss):
    """(d - 1/(2 beta))^2, with each log-ratio divided by its answer's tokens; 1/(4 beta^2) before the first update.

    Source: Azar et al. 2023, equation 17, per token as its authors use it and TRL does.
    """

    kind: Literal["ipo"] = "ipo"

    def is_per_token(self, form: PreferenceForm) -> bool:
        """Always."""
        return True

    def of(self, chosen: Tensor, rejected: Tensor, form: PreferenceForm) -> Tensor:
        """d is the difference of the log-ratios per token."""
        return (chosen - rejected - 1 / (2 * form.beta)) ** 2
