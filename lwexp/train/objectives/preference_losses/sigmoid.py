"""DPO's own loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from lwexp.extend import PreferenceForm, PreferenceLoss, register

if TYPE_CHECKING:
    from torch import Tensor


@register
class Sigmoid(PreferenceLoss):
    """-(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d), with label smoothing e (0: DPO).

    ln 2 before the first update, when policy and reference agree.

    Source: Rafailov et al. 2023, equation 7; Mitchell 2023 (label smoothing).
    """

    kind: Literal["sigmoid"] = "sigmoid"
    reads: ClassVar[tuple[str, ...]] = ("label_smoothing", "length_normalize")

    def is_per_token(self, form: PreferenceForm) -> bool:
        """As asked."""
        return form.length_normalize

    def of(self, chosen: Tensor, rejected: Tensor, form: PreferenceForm) -> Tensor:
        """d is the difference of the log-ratios."""
        from torch.nn.functional import logsigmoid

        scaled, smoothing = form.beta * (chosen - rejected), form.label_smoothing
        return -(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)
