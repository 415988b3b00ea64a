"""Model FLOPs of training: hours planned at an assumed MFU, and the MFU that a run reaches.

Let M be the parameters that are multiplied (all but the input embedding, which is only looked up; a tied embedding
counts as the head), A those of them that are trained, L the layers, q the width of all query heads, l_i the tokens of
each document and T_p those of each pack. The forward and backward passes of a step then take

    matrix products     (4M + 2A) * tokens         the head counted for every token; 6M without an adapter
    packed-exact        + 6 * L * q * sum(l_i^2)   causal attention within documents: what is computed
    non-causal          + 12 * L * q * sum(T_p^2)  every token attends to its whole pack: what most papers publish

Frozen weights, as under a LoRA adapter, have no gradient, so they cost 4 FLOPs a token instead of 6. MFU is these FLOPs
per second divided by the peak of all devices. To be comparable with published numbers, recomputation is not counted,
and the head is counted for prompt tokens too, although it is not computed for them.

Source: docs/training_core.md lists who publishes by which convention.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from lwexp.config.train import Hardware
from lwexp.extend import Objective, Sizes, StepTotals

# Dense bf16 FLOPs per second by words in the device's name; more specific names first. Source: NVIDIA's data sheets.
PEAK_BF16 = {
    "GB200": 2.5e15, "B200": 2.25e15, "H200 NVL": 835e12, "H200": 989e12, "H100 NVL": 835e12, "H100 PCIe": 756e12,
    "H100": 989e12, "H800": 989e12, "A100": 312e12, "A800": 312e12, "L40S": 362e12, "A10G": 125e12, "A10": 125e12,
    "L4": 121e12,
}  # fmt: skip


class StepFlops(NamedTuple):
    """Model FLOPs of one optimiser step over all ranks."""

    packed: float
    noncausal: float


def step_flops(sizes: Sizes, totals: StepTotals) -> StepFlops:
    """FLOPs by both conventions.

    Example: 1,000 multiplied parameters, 2 layers with 4 heads of 8, one pack of 10 tokens in documents of 6
    and 4: products 6*1000*10 = 60,000; packed + 6*2*32*(36+16) = 19,968; non-causal + 12*2*32*100 = 76,800.
    """
    return StepFlops(
        packed=_flops(sizes, totals.tokens, 6.0 * totals.document_squares),
        noncausal=_flops(sizes, totals.tokens, 12.0 * totals.pack_squares),
    )


def flops_per_token(sizes: Sizes, mean_context: float) -> float:
    """Packed-exact FLOPs of the forward and backward passes for one token.

    Args:
        sizes: The model.
        mean_context: sum(l^2) / sum(l) over the documents. In packs of short documents a token's attention costs far
            less than the 12 L q T that many published numbers count.
    """
    return _flops(sizes, 1, 6.0 * mean_context)


def _flops(sizes: Sizes, tokens: int, attended: float) -> float:
    trained = sizes.adapter_parameters or sizes.matmul_parameters
    products = (4.0 * sizes.matmul_parameters + 2.0 * trained) * tokens
    return products + sizes.num_hidden_layers * sizes.query_width * attended


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 peak of one device in FLOPs per second; None if it is unknown."""
    for name, peak in PEAK_BF16.items():
        if re.search(rf"\b{re.escape(name)}\b", device_name):
            return peak
    return None


class Hours(NamedTuple):
    """Estimated wall-clock hours."""

    training: float
    other: float
    """Reference log-probs, and the forward passes that training in two passes adds."""
    flops: float
    """Model FLOPs of the whole training, without recomputation."""
    gpus: int
    saving: float = 0.0
    """Writing checkpoints."""
    copying: float = 0.0
    """Copies between device and host, and AdamW on the host, where something is offloaded."""

    @property
    def total(self) -> float:
        return self.training + self.other + self.saving + self.copying


def mean_context(lengths: Sequence[float]) -> float:
    """sum(l^2) / sum(l): the length of the document that a token is in, averaged over all tokens."""
    return sum(n * n for n in lengths) / max(sum(lengths), 1.0)


def rank_slots(packs: int, batch: int, ranks: int) -> float:
    """Packs that the ranks could run in the same time, divided by the packs that they run; above 1 if ranks wait.

    Example: 20 packs, 8 a step, on 8 ranks: the 3 steps, the last with only 4 packs, take the time of 24 packs, and
    24 / 20 = 1.2.
    """
    steps, rest = divmod(packs, batch)
    rounds = steps * math.ceil(batch / ranks) + math.ceil(rest / ranks)
    return rounds * ranks / max(packs, 1)


def training_hours(
    sizes: Sizes,
    hardware: Hardware,
    objective: Objective,
    lengths: Sequence[float],
    steps: int,
    tokens_per_step: float,
    *,
    passes: int = 1,
    slots: float = 1.0,
    reference_slots: float = 1.0,
) -> Hours | None:
    """Hours of training at ``hardware.mfu`` of ``hardware.peak_tflops``; None if the config states no peak.

    Args:
        sizes: The model.
        hardware: States the bf16 peak of one GPU and the expected MFU.
        objective: One that needs a reference adds one forward pass over the data.
        lengths: Tokens of each document.
        steps: Optimiser steps.
        tokens_per_step: Tokens of a step over all ranks.
        passes: Passes over each pack, 1 or 2; the second adds a forward pass in every epoch.
        slots: ``rank_slots`` of the training steps.
        reference_slots: ``rank_slots`` of the reference's forward pass.
    """
    if hardware.peak_tflops is None:
        return None
    gpus = hardware.ranks
    flops = steps * tokens_per_step * flops_per_token(sizes, mean_context(lengths))
    busy = flops / (gpus * hardware.peak_tflops * 1e12 * hardware.mfu) / 3600
    training = busy * slots
    # A forward pass is a third of a step. It is a quarter if the backward pass repeats it, because then a step
    # computes a third more than its model FLOPs.
    forward = 1 / (4 if hardware.activation_checkpointing else 3)
    other = training * forward * (passes - 1)
    if objective.needs_reference:
        epochs = max(steps * tokens_per_step / max(sum(lengths), 1.0), 1e-9)
        other += busy * reference_slots * forward / epochs
    return Hours(training, other, flops, gpus)


class Speedometer:
    """Adds up tokens and FLOPs of the steps between two rows of metrics.

    Args:
        sizes: Sizes of the model.
        peak: FLOPs per second of all devices together; None if unknown.
    """

    def __init__(self, sizes: Sizes, peak: float | None) -> None:
        self._sizes = sizes
        self._peak = peak
        self.clear()

    def clear(self) -> None:
        self._tokens = self._targets = 0
        self._packed = self._noncausal = 0.0

    def add(self, totals: StepTotals) -> None:
        flops = step_flops(self._sizes, totals)
        self._tokens += totals.tokens
        self._targets += totals.target_tokens
        self._packed += flops.packed
        self._noncausal += flops.noncausal

    def row(self, seconds: float) -> dict[str, float | None]:
        """Rates over ``seconds``: tokens, target tokens, model TFLOPs; MFU by both conventions if the peak is known."""
        peak = self._peak
        return {
            "tokens_per_second": round(self._tokens / seconds, 1),
            "target_tokens_per_second": round(self._targets / seconds, 1),
            "model_tflops": round(self._packed / seconds / 1e12, 6),
            "mfu_packed": round(self._packed / seconds / peak, 4) if peak else None,
            "mfu_noncausal": round(self._noncausal / seconds / peak, 4) if peak else None,
        }
