"""The preference losses. In each, d is the log-ratio of the chosen answer minus that of the rejected one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from lwexp.extend import PreferenceForm, PreferenceLoss, register

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    Pairs = Float[Tensor, " pairs"]


@register
class Sigmoid(PreferenceLoss):
    """DPO's own loss: -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d), with label smoothing e (0 in DPO).

    It is ln 2 before the first update, when policy and reference agree.

    Source: Rafailov et al. 2023, equation 7; Mitchell 2023 (label smoothing).
    """

    kind: Literal["sigmoid"] = "sigmoid"
    reads: ClassVar[tuple[str, ...]] = ("label_smoothing", "length_normalize")

    def is_per_token(self, form: PreferenceForm) -> bool:
        return form.length_normalize

    def of(self, chosen: Pairs, rejected: Pairs, form: PreferenceForm) -> Pairs:
        from torch.nn.functional import logsigmoid

        scaled, smoothing = form.beta * (chosen - rejected), form.label_smoothing
        return -(1 - smoothing) * logsigmoid(scaled) - smoothing * logsigmoid(-scaled)


@register
class NoLoss(Sigmoid):
    """Trains on the chosen answers alone (``nll_weight``), as a control that shows what a preference loss adds.

    DPO's own loss is logged but not trained on.
    """

    kind: Literal["none"] = "none"  # type: ignore[assignment]
    reads: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False


@register
class Hinge(PreferenceLoss):
    """SLiC's loss, max(0, 1 - beta d). It is 1 before the first update, if there is a reference.

    Source: Zhao et al. 2023, SLiC.
    """

    kind: Literal["hinge"] = "hinge"

    def of(self, chosen: Pairs, rejected: Pairs, form: PreferenceForm) -> Pairs:
        return (1 - form.beta * (chosen - rejected)).relu()


@register
class IPO(PreferenceLoss):
    """(d - 1/(2 beta))^2, with each log-ratio divided by the number of tokens in its answer.

    It is 1/(4 beta^2) before the first update, if there is a reference.

    Source: Azar et al. 2023, equation 17; per token, as the authors and TRL use it.
    """

    kind: Literal["ipo"] = "ipo"

    def is_per_token(self, form: PreferenceForm) -> bool:
        return True

    def of(self, chosen: Pairs, rejected: Pairs, form: PreferenceForm) -> Pairs:
        return (chosen - rejected - 1 / (2 * form.beta)) ** 2
