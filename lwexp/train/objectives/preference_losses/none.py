"""No preference loss: the control of what one adds."""

from typing import ClassVar, Literal

from lwexp.extend import register
from lwexp.train.objectives.preference_losses.sigmoid import Sigmoid


@register
class NoLoss(Sigmoid):
    """Trains on the chosen answers alone (``nll_weight``); DPO's own loss is watched, not trained on."""

    kind: Literal["none"] = "none"  # type: ignore[assignment]
    reads: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = False
