"""How fast training is: model FLOPs of a step by two conventions, the peak of a device, and memory at its highest.

With N parameters of which V*h are input embeddings (looked up, not multiplied), L layers, n_h heads of d_h, documents
of l_i tokens and packs of T_p tokens, forward and backward of a step take

    matrix products     6 * (N - V*h) * tokens            the head counted for every token; tied or not, once
    packed-exact        + 6 * L * n_h * d_h * sum(l_i^2)    causal attention within documents: what is computed
    non-causal          + 12 * L * n_h * d_h * sum(T_p^2)   every token attends to its whole pack: what most publish

MFU is such FLOPs a second over the peak of all devices. Recomputation is not counted, and that our head skips prompt
tokens is not subtracted, so that numbers compare with those of others.

Source: docs/training_core.md lists who publishes by which convention.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lwexp.extend import Sizes, StepTotals

# Dense bf16 FLOPs a second, by a word of the device's name; more special names first. Source: NVIDIA's data sheets.
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

    Example: 1,000 parameters beside embeddings, 2 layers with 4 heads of 8, one pack of 10 tokens in documents of 6
    and 4: products 6*1000*10 = 60,000; packed + 6*2*32*(36+16) = 19,968; non-causal + 12*2*32*100 = 76,800.
    """
    # A tied embedding is one weight, which works as the head: it is multiplied.
    multiplied = sizes.parameters - (0 if sizes.tied else sizes.embedding_parameters)
    products = 6.0 * multiplied * totals.tokens
    width = sizes.num_hidden_layers * sizes.num_attention_heads * sizes.head_dim
    return StepFlops(
        packed=products + 6.0 * width * totals.document_squares,
        noncausal=products + 12.0 * width * totals.pack_squares,
    )


def peak_flops(device_name: str) -> float | None:
    """Dense bf16 peak of one device; None if it is not known (or it is a CPU)."""
    for name, peak in PEAK_BF16.items():
        if re.search(rf"\b{re.escape(name)}\b", device_name):
            return peak
    return None


class Speedometer:
    """Adds up steps between two rows of metrics.

    Args:
        sizes: Of the model.
        peak: FLOPs a second of all devices together; None where it is not known.
    """

    def __init__(self, sizes: Sizes, peak: float | None) -> None:
        self._sizes = sizes
        self._peak = peak
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self._tokens = self._targets = 0
        self._packed = self._noncausal = 0.0

    def add(self, totals: StepTotals) -> None:
        """Count a step."""
        flops = step_flops(self._sizes, totals)
        self._tokens += totals.tokens
        self._targets += totals.target_tokens
        self._packed += flops.packed
        self._noncausal += flops.noncausal

    def row(self, seconds: float) -> dict[str, float | None]:
        """Rates over ``seconds``: tokens, target tokens, model TFLOPs; MFU by both conventions, if there is a peak."""
        peak = self._peak
        return {
            "tokens_per_second": round(self._tokens / seconds, 1),
            "target_tokens_per_second": round(self._targets / seconds, 1),
            "model_tflops": round(self._packed / seconds / 1e12, 6),
            "mfu_packed": round(self._packed / seconds / peak, 4) if peak else None,
            "mfu_noncausal": round(self._noncausal / seconds / peak, 4) if peak else None,
        }
