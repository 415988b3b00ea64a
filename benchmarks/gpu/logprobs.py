"""The log-prob op and its rivals: compared with float64 on the CPU, then time and memory at GLM-4's and Llama's sizes.

Goal: for 32,768 tokens and a vocabulary of 151,552, a peak of at most 4 GiB for the loss, both gradients included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.cases import Case, Numbers
from benchmarks.gpu.place import Place, relative_error, within
from benchmarks.logprobs import naive, ours, trl

TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-4}
System = Callable[[Tensor, Tensor, Tensor], Tensor]
SIZES = {"32k_x_151552": (32_768, 151_552, 4096), "32k_x_128256": (32_768, 128_256, 4096)}  # GLM-4-9B, Llama-3.1-8B


def cases(place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """Parity of all ops, then their speed at both full sizes; the naive op only if its logits fit."""
    systems: dict[str, System] = {"ours": ours, "naive": naive}
    if find_spec("trl"):
        systems["trl"] = trl
    if find_spec("liger_kernel") and place.is_cuda:
        systems["liger"] = liger
    small = (64, 300, 32) if place.quick else (1000, 20_000, 512)
    found = [
        Case("parity", f"logprobs/parity/{name}", partial(parity, place, op, small)) for name, op in systems.items()
    ]
    for case, full in SIZES.items():
        shape = (64, 512, 32) if place.quick else full
        found += [
            Case("ours" if name == "ours" else "rivals", f"logprobs/{case}/{name}", partial(speed, place, op, shape))
            for name, op in systems.items()
            if place.quick or name != "naive"
        ]
    return found


def parity(place: Place, op: System, shape: tuple[int, int, int]) -> Numbers:
    """Log-probs and both gradients, with a different gradient for each token, in memory filled with NaN first."""
    hidden, weight, targets = make_inputs(place, *shape)
    slopes = torch.linspace(-1.0, 2.0, shape[0], device=place.device)
    exact = [hidden.detach().double().cpu().requires_grad_(), weight.detach().double().cpu().requires_grad_()]
    logprobs = naive(exact[0], exact[1], targets.cpu())
    wanted = [logprobs.detach(), *torch.autograd.grad((logprobs * slopes.double().cpu()).sum(), exact)]
    place.poison()
    mine = op(hidden, weight, targets)
    got = [mine.detach(), *torch.autograd.grad((mine * slopes).sum(), [hidden, weight])]
    return within(relative_error(got, wanted), TOLERANCE[place.dtype])


def speed(place: Place, op: System, shape: tuple[int, int, int]) -> Numbers:
    """Time and peak memory of the forward pass and both gradients."""
    hidden, weight, targets = make_inputs(place, *shape)

    def once(number: int = 0) -> object:
        return torch.autograd.grad(op(hidden, weight, targets).sum(), [hidden, weight])

    return {"milliseconds": place.time(once, 2) * 1e3, "peak_mib": place.peak_mib(once)}


def liger(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Liger's fused linear cross-entropy, one value for each token."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(reduction="none", accum_dtype=torch.float32)
    losses: Tensor = loss(weight, hidden, targets)
    return -losses


def make_inputs(place: Place, tokens: int, words: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, head and targets, drawn on the device."""
    generator = torch.Generator(place.device).manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "device": place.device}
    hidden = torch.randn(tokens, width, **options).to(place.dtype).requires_grad_()
    weight = (torch.randn(words, width, **options) * 0.02).to(place.dtype).requires_grad_()
    return hidden, weight, torch.randint(0, words, (tokens,), **options)
