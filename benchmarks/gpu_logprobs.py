"""The log-prob op and its rivals: right against float64 on the CPU, then time and memory at GLM-4's and Llama's sizes.

Goal: loss peak at 32,768 tokens x 151,552 words at most 4 GiB, both gradients included.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_place import Place, relative_error
from benchmarks.logprobs import naive, ours, trl
from benchmarks.output import Results

TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-4}
System = Callable[[Tensor, Tensor, Tensor], Tensor]


def run(place: Place) -> Results:
    """Parity of all, then the two full sizes; naive only where its logits fit."""
    systems: dict[str, System] = {"ours": ours, "naive": naive}
    if find_spec("trl"):
        systems["trl"] = trl
    if find_spec("liger_kernel") and place.is_cuda:
        systems["liger"] = liger
    tokens, words, width = (64, 300, 32) if place.quick else (1000, 20_000, 512)
    results: Results = {"parity": {name: parity(place, op, tokens, words, width) for name, op in systems.items()}}
    sizes = {"32k_x_151552": (32_768, 151_552), "32k_x_128256": (32_768, 128_256)}
    for case, (rows, vocabulary) in sizes.items():
        shape = (64, 512, 32) if place.quick else (rows, vocabulary, 4096)
        inputs = make_inputs(place, *shape)
        results[case] = {
            name: speed(place, op, inputs) for name, op in systems.items() if place.quick or name != "naive"
        }
    return results


def parity(place: Place, op: System, tokens: int, words: int, width: int) -> dict[str, float]:
    """Log-probs and both gradients under slopes that differ by token."""
    hidden, weight, targets = make_inputs(place, tokens, words, width)
    slopes = torch.linspace(-1.0, 2.0, tokens, device=place.device)
    exact = [hidden.detach().double().cpu().requires_grad_(), weight.detach().double().cpu().requires_grad_()]
    logprobs = naive(exact[0], exact[1], targets.cpu())
    wanted = [logprobs.detach(), *torch.autograd.grad((logprobs * slopes.double().cpu()).sum(), exact)]
    place.poison()
    mine = op(hidden, weight, targets)
    got = [mine.detach(), *torch.autograd.grad((mine * slopes).sum(), [hidden, weight])]
    error = relative_error(got, wanted)
    return {"max_error": error, "parity_ok": float(error < TOLERANCE[place.dtype])}


def speed(place: Place, op: System, inputs: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
    hidden, weight, targets = inputs

    def once(number: int = 0) -> object:
        return torch.autograd.grad(op(hidden, weight, targets).sum(), [hidden, weight])

    return {"milliseconds": place.time(once, 2) * 1e3, "peak_mib": place.peak_mib(once)}


def liger(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Liger's fused linear cross-entropy, a value a token."""
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(reduction="none", accum_dtype=torch.float32)
    losses: Tensor = loss(weight, hidden, targets)
    return -losses


def make_inputs(place: Place, tokens: int, words: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator(place.device).manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "device": place.device}
    hidden = torch.randn(tokens, width, **options).to(place.dtype).requires_grad_()
    weight = (torch.randn(words, width, **options) * 0.02).to(place.dtype).requires_grad_()
    return hidden, weight, torch.randint(0, words, (tokens,), **options)
