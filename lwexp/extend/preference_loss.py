"""Preference losses: the loss of a pair from the log-probs of its two answers under policy and reference."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from lwexp.extend.registry import OneOf, Registry
from lwexp.extend.settings import Strict


class PreferenceLoss(Strict):
    """A preference loss. It may have its own settings: ``loss: {kind: simpo, gamma: 0.5}``."""

    kind: str

    needs_reference: ClassVar[bool] = True
    """False: the loss uses the policy's log-probs alone, and no reference is computed."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Which of ``label_smoothing`` and ``length_normalize`` it reads; the others must stay 0 or false."""
    trains: ClassVar[bool] = True
    """False: only ``nll_weight`` trains."""

    def is_per_token(self, form: PreferenceForm) -> bool:
        """Whether each answer's log-ratio is divided by its target tokens."""
        return False

    def of(self, chosen: Any, rejected: Any, form: PreferenceForm) -> Any:
        """The loss of each pair.

        Args:
            chosen: Tensor [pairs]: log policy - log reference of the chosen answers (log policy alone without
                ``needs_reference``), in nats per answer, or per token if ``is_per_token``.
            rejected: The same for the rejected answers.
            form: beta and the other parameters.
        """
        raise NotImplementedError


PREFERENCE_LOSSES = Registry("preference loss", PreferenceLoss, ("lwexp.train.objectives.preference_losses",))


class PreferenceForm(Strict):
    """The preference loss and its parameters."""

    loss: Annotated[PreferenceLoss, OneOf(PREFERENCE_LOSSES, by_name=True)]
    """sigmoid is DPO; none trains on the chosen answers alone (nll_weight), as a control for DPO."""
    beta: float = Field(gt=0)
    """How strongly the policy is kept near its reference; called tau in ipo."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """sigmoid only: the share of pairs taken to be labelled the wrong way round; 0 trusts all labels."""
    length_normalize: bool = False
    """sigmoid only: log-ratios per target token instead of per answer (ipo always does this); beta is then larger."""
    ld_alpha: float = Field(1.0, ge=0, le=1)
    """Weight of the tokens by which one answer is longer than the other; 1 is DPO, less makes length matter less."""

    @model_validator(mode="after")
    def the_loss_reads_its_options(self) -> PreferenceForm:
        """Refuse options that the chosen loss would ignore."""
        for key, value in (("label_smoothing", self.label_smoothing), ("length_normalize", self.length_normalize)):
            if value and key not in self.loss.reads:
                have = " or ".join(name for name, cls in PREFERENCE_LOSSES.items() if key in cls.reads)
                raise ValueError(f"objective.{key}={value}: only objective.loss={have} has it; drop one of the two")
        return self
