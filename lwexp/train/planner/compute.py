"""Floating-point operations of training on packs, and the hours they take at a stated share of the peak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.config.train import Hardware
from lwexp.extend import Objective, Sizes


class Hours(NamedTuple):
    """Wall-clock estimate and what it stands on."""

    training: float
    other: float
    """Reference log-probs, and the forward passes that training in two passes adds."""
    flops: float
    """Model FLOPs of the whole training, recomputation not counted."""
    gpus: int


def flops_per_token(sizes: Sizes, mean_context: float) -> float:
    """Model FLOPs of one token's forward and backward: 6 N_matmul + 6 L q c.

    Args:
        sizes: The model; N_matmul leaves out the input embedding, which is looked up. A LoRA adapter's base weights
            get no gradients of their own, which leaves 4 N_matmul and 6 for the adapter.
        mean_context: c = sum(l^2) / sum(l) over the documents. Attention is causal and does not cross documents, so
            packs of short documents cost far less than the 12 L q T that many published numbers count.
    """
    trained = 2 * (sizes.trained_parameters if sizes.adapter_parameters else sizes.matmul_parameters)
    attention = 6 * sizes.num_hidden_layers * sizes.query_width * mean_context
    return 4 * sizes.matmul_parameters + trained + attention


def mean_context(lengths: Sequence[float]) -> float:
    """sum(l^2) / sum(l): the mean length of the document that a token is in."""
    return sum(n * n for n in lengths) / max(sum(lengths), 1.0)


def training_hours(
    sizes: Sizes,
    hardware: Hardware,
    objective: Objective,
    lengths: Sequence[float],
    steps: int,
    tokens_per_step: float,
    *,
    passes: int = 1,
) -> Hours | None:
    """Hours of training at ``hardware.mfu`` of ``hardware.peak_tflops``; None where the config states no peak.

    Args:
        sizes: The model.
        hardware: States the peak of one GPU in bf16 and the share of it that model FLOPs are expected to reach.
        objective: One with a reference adds one forward over the data.
        lengths: Tokens of each document.
        steps: Optimiser steps.
        tokens_per_step: Tokens of a step over all ranks.
        passes: Two passes run one more forward in every epoch.
    """
    if hardware.peak_tflops is None:
        return None
    gpus = hardware.ranks
    flops = steps * tokens_per_step * flops_per_token(sizes, mean_context(lengths))
    training = flops / (gpus * hardware.peak_tflops * 1e12 * hardware.mfu) / 3600
    # A forward is one part of three; of four where the backward runs it again, because then a step at this MFU
    # does a third more than its model FLOPs.
    forward = 1 / (4 if hardware.activation_checkpointing else 3)
    other = training * forward * (passes - 1)
    if objective.needs_reference:
        epochs = max(steps * tokens_per_step / max(sum(lengths), 1.0), 1e-9)
        other += training * forward / epochs
    return Hours(training, other, flops, gpus)
