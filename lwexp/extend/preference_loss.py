"""Preference losses: the loss of a pair from what policy and reference give to its two answers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from lwexp.extend.registry import OneOf, Registry
from lwexp.extend.settings import Strict


class PreferenceLoss(Strict):
    """One form of loss. It may have settings of its own: ``loss: {kind: simpo, gamma: 0.5}``."""

    kind: str

    needs_reference: ClassVar[bool] = True
    """False: the loss is of the policy's own log-probs, and no reference is computed."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Which of ``label_smoothing`` and ``length_normalize`` it reads; another value than 0 or false is refused else."""
    trains: ClassVar[bool] = True
    """False: only ``nll_weight`` trains."""

    def is_per_token(self, form: PreferenceForm) -> bool:
        """Whether each answer's log-ratio is divided by its target tokens."""
        return False

    def of(self, chosen: Any, rejected: Any, form: PreferenceForm) -> Any:
        """The loss of each pair.

        Args:
            chosen: Tensor [pairs]: log policy - log reference of the chosen answers (log policy alone without
                ``needs_reference``), in nats an answer, or a token if ``is_per_token``.
            rejected: The same of the rejected answers.
            form: beta and the other numbers.
        """
        raise NotImplementedError


PREFERENCE_LOSSES = Registry("preference loss", PreferenceLoss, ("lwexp.train.objectives.preference_losses",))


class PreferenceForm(Strict):
    """Which preference loss, and its numbers."""

    loss: Annotated[PreferenceLoss, OneOf(PREFERENCE_LOSSES, by_name=True)]
    """sigmoid is DPO; none trains on the chosen answers alone (nll_weight), the control of what DPO adds."""
    beta: float = Field(gt=0)
    """How strongly the policy is pulled to its reference; ipo calls it tau."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """sigmoid only: the share of pairs taken to be labelled the wrong way round; 0 trusts them all."""
    length_normalize: bool = False
    """sigmoid only: log-ratios per target token instead of per answer (ipo always divides so); beta is then larger."""
    ld_alpha: float = Field(1.0, ge=0, le=1)
    """Weight of the tokens by which one answer is longer than the other; 1 is DPO, less makes length matter less."""

    @model_validator(mode="after")
    def the_loss_reads_its_options(self) -> PreferenceForm:
        """An option that the chosen loss does not have would be ignored."""
        for key, value in (("label_smoothing", self.label_smoothing), ("length_normalize", self.length_normalize)):
            if value and key not in self.loss.reads:
                have = " or ".join(name for name, cls in PREFERENCE_LOSSES.items() if key in cls.reads)
                raise ValueError(f"objective.{key}={value}: only objective.loss={have} has it; drop one of the two")
        return self
