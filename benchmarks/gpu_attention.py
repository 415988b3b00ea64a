"""Every attention path: right against the CPU oracle, then milliseconds on packs of few long and many short documents.

"fresh" gives every call document lengths it has not met, as training does; cuDNN builds a plan for each new one.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from benchmarks.gpu_place import Place, relative_error
from benchmarks.output import Results
from lwexp.train.model.attention import attention_problem, unfit
from lwexp.train.model.attention_paths import PATHS, Documents, Path, cudnn_alone, per_document

TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-4}
LENGTHS = (700, 1, 64, 4200, 129, 2)  # one that hybrid gives its own call, and one of a single token
SHAPES = {"glm": (32, 2, 128), "llama": (32, 8, 128)}  # heads, key heads, width


def run(place: Place) -> Results:
    """Parity, then speed, of each path that this machine has."""
    paths = {name: path for name, path in PATHS.items() if is_available(name, place)}
    results: Results = {}
    for family, (heads, kv_heads, width) in SHAPES.items():
        shape = (4, 2, 16) if place.quick else (heads, kv_heads, width)
        results[f"parity_{family}"] = parity(place, paths, shape)
    if "cudnn" in paths:  # by itself, with nothing to fall back on
        results["parity_cudnn"] = parity(place, {"cudnn_alone": cudnn_alone}, (32, 2, 128), (700, 64, 300))
    tokens = 256 if place.quick else 32_768
    for family, (heads, kv_heads, width) in SHAPES.items():
        shape = (4, 2, 16) if place.quick else (heads, kv_heads, width)
        for case, count in (("few_long", 3), ("many_short", 8 if place.quick else 96)):
            results[f"{case}_{family}"] = {
                name: speed(place, path, shape, tokens, count) for name, path in paths.items()
            }
    return results


def is_available(name: str, place: Place) -> bool:
    """Says on standard error why not."""
    problem = None if name == "per_document" else unfit(place.device.type, place.dtype)
    return (problem or attention_problem(name)) is None  # type: ignore[arg-type]


def parity(
    place: Place, paths: dict[str, Path], shape: tuple[int, int, int], lengths: tuple[int, ...] = LENGTHS
) -> dict[str, dict[str, float]]:
    """Output and three gradients under random slopes against float64 on the CPU."""
    lengths = tuple(min(length, 40) for length in lengths) if place.quick else lengths
    inputs = make_inputs(place, shape, sum(lengths))
    slopes = torch.randn(1, sum(lengths), shape[0], shape[2], generator=torch.Generator().manual_seed(1))
    documents, scale = Documents(lengths, None, max(lengths)), shape[2] ** -0.5

    def both(path: Path, tensors: list[Tensor]) -> list[Tensor]:
        query, key, value = leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        output = path(query, key, value, documents, scale)
        return [output.detach(), *torch.autograd.grad((output * slopes.to(output)).sum(), leaves)]

    exact = [tensor.double().cpu() for tensor in inputs]
    wanted = both(per_document, exact)
    results = {}
    for name, path in paths.items():
        place.poison()
        error = relative_error(both(path, inputs), wanted)
        results[name] = {"max_error": error, "parity_ok": float(error < TOLERANCE[place.dtype])}
    return results


def speed(place: Place, path: Path, shape: tuple[int, int, int], tokens: int, count: int) -> dict[str, float]:
    """Forward and backward of one layer's attention."""
    query, key, value = inputs = make_inputs(place, shape, tokens)
    rng = random.Random(0)
    draws = [cut(rng, tokens, count) for _ in range(5)]

    def once(lengths: tuple[int, ...]) -> None:
        output = path(query, key, value, Documents(lengths, None, max(lengths)), shape[2] ** -0.5)
        torch.autograd.grad(output.sum(), inputs)

    same = place.time(lambda number: once(draws[0]), 3)
    fresh = place.time(lambda number: once(draws[number + 1]), 3)
    flops = 6.0 * shape[0] * shape[2] * sum(length**2 for length in draws[0])
    return {"milliseconds": same * 1e3, "milliseconds_fresh": fresh * 1e3, "model_tflops": flops / same / 1e12}


def cut(rng: random.Random, tokens: int, count: int) -> tuple[int, ...]:
    """``tokens`` in ``count`` documents of uneven lengths."""
    weights = [rng.uniform(0.5, 1.5) for _ in range(count)]
    lengths = [max(1, int(tokens * weight / sum(weights))) for weight in weights]
    return (*lengths[:-1], tokens - sum(lengths[:-1]))


def make_inputs(place: Place, shape: tuple[int, int, int], tokens: int) -> list[Tensor]:
    heads, kv_heads, width = shape
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(1, count, tokens, width, generator=generator) for count in (heads, kv_heads, kv_heads)]
    return [tensor.to(place.device, place.dtype).requires_grad_() for tensor in drawn]
