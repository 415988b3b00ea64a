"""SimPO (Meng et al. 2024, arXiv 2405.14734): a preference loss without a reference, from outside lwexp."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lwexp.extend import PreferenceForm, PreferenceLoss, register


@register
class SimPO(PreferenceLoss):
    """-log sigmoid(beta (log p(chosen) / tokens - log p(rejected) / tokens) - gamma), of the policy alone."""

    kind: Literal["simpo"] = "simpo"
    gamma: float = 0.5
    """The margin by which a chosen answer should win."""

    needs_reference: ClassVar[bool] = False

    def is_per_token(self, form: PreferenceForm) -> bool:
        return True

    def of(self, chosen: Any, rejected: Any, form: PreferenceForm) -> Any:
        from torch.nn.functional import logsigmoid

        return -logsigmoid(form.beta * (chosen - rejected) - self.gamma)
