"""Training objectives: their settings, the rows they train on, and a pack's loss from its per-token log-probs.

This module does not import torch, so tensors are ``Any``; a class imports torch inside its methods.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from lwexp.extend.registry import Registry
from lwexp.extend.settings import Strict
from lwexp.extend.training_rows import TrainingRows

Tensor = Any
"""A torch.Tensor."""


class Optimizer(Strict):
    """AdamW and its schedule."""

    lr: float = Field(gt=0, lt=1)
    """Highest learning rate, reached at the end of the warm-up."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's decay rates of the two moments."""
    weight_decay: float = Field(ge=0)
    """AdamW's decoupled weight decay."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient of a step; a larger gradient is scaled down."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Schedule after the linear warm-up."""
    warmup_ratio: float = Field(ge=0, lt=1)
    """Warm-up, as a share of all steps."""


class StepTotals(NamedTuple):
    """Counts of one optimiser step, over all ranks and accumulation steps: the denominators of its loss."""

    packs: int
    documents: int
    target_tokens: int
    counted: Mapping[str, int] = {}
    """The counts of ``Objective.count``."""
    tokens: int = 0
    """All tokens; like the next two, for measuring speed."""
    document_squares: int = 0
    """Sum of squared document lengths: the cost of attention within documents."""
    pack_squares: int = 0
    """Sum of squared pack lengths: the cost of attention over whole packs."""


class PackLoss(NamedTuple):
    """A pack's share of a step's loss and metrics. Both parts are summed over the packs of the step."""

    loss: Tensor
    watched: dict[str, Tensor]
    """Name of a column in metrics.jsonl -> a number, detached. The same names from every pack."""


class Known(NamedTuple):
    """Further inputs of a loss."""

    reference: Any = None
    """``train.objectives.reference.Reference``: the start model's log-probs; None unless ``needs_reference``."""
    long_from: int | None = None
    """Documents with at least this many target tokens are long (together half of all targets); None: unknown."""


class Watched(NamedTuple):
    """A column of metrics.jsonl that the report draws as a figure."""

    title: str
    caption: str
    unit: str


class Objective(Strict):
    """A training objective. A subclass adds settings and defines the loss of a pack."""

    kind: str
    epochs: int = Field(ge=1)
    """Passes over the packs."""
    max_steps: int | None = Field(None, ge=1)
    """Stop after this many optimiser steps; null runs all epochs."""
    global_batch: int = Field(ge=1)
    """Packs per optimiser step, over all ranks and accumulation. All documents of a row are always in one pack."""
    optimizer: Optimizer

    rows: ClassVar[TrainingRows[Any]]
    """Which rows it trains on, and how they become documents."""
    starts_from_run: ClassVar[bool] = False
    """Whether it starts from the model of a finished SFT run (``init_from``) instead of ``model``."""

    @property
    def needs_reference(self) -> bool:
        """Whether the loss uses log-probs of the start model: computed once before training, kept in the run."""
        return False

    @property
    def summary(self) -> str:
        """The loss in a few words, for the model card."""
        return self.kind

    def watched(self) -> dict[str, Watched]:
        """Figures of the report, by column of metrics.jsonl."""
        return {}

    def pack_loss(self, logprobs: Tensor, batch: Any, totals: StepTotals, known: Known) -> PackLoss:
        """Share of one pack in the step's loss.

        Args:
            logprobs: log p of each target token of the pack, in order.
            batch: A ``pack.dataset.PackBatch``: its documents, and which target belongs to which.
            totals: Counts of the whole step.
            known: Further inputs, such as the reference.
        """
        raise NotImplementedError

    def count(self, dataset: Any) -> dict[str, Sequence[int]]:
        """Further counts of each pack that a loss divides by; their sums over a step are ``StepTotals.counted``.

        Args:
            dataset: A ``pack.dataset.PackedDataset``.
        """
        return {}

    def reference_parts(self, batch: Any) -> dict[str, Tensor]:
        """Further sums over the reference's log-probs that the loss needs: name -> weight of each target."""
        return {}

    def target_weights(self, batch: Any, totals: StepTotals) -> Tensor | None:
        """Weight of each target in the step's loss, for ``inspect_batch``; None if it depends on the model."""
        return None

    def max_forward_tokens(self, max_tokens: int, fits: Callable[[int], bool]) -> int:
        """Tokens of the largest forward and backward pass. If below a pack's capacity, packs are trained in two passes.

        Args:
            max_tokens: Capacity of a pack.
            fits: Whether a forward and backward pass of that many tokens fits into memory.
        """
        return max_tokens

    def passes_line(self, max_tokens: int, forward_tokens: int) -> str | None:
        """A line of the dry run about how packs are trained; None to print nothing."""
        return None


OBJECTIVES = Registry("objective", Objective, ("lwexp.train.objectives",))
