"""Every attention path: compared with float64 on the CPU, then timed on packs of long and of short documents.

"fresh" gives every call new document lengths, as training does. cuDNN builds a plan for each new length, so it is run
only on packs of few long documents: with 96 lengths per pack, building plans would take minutes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.gpu.cases import Case, Numbers
from benchmarks.gpu.machine import repeats_keys
from benchmarks.gpu.place import Place, relative_error, within
from lwexp.train.model.attention import attention_problem, best_path, unfit
from lwexp.train.model.attention_paths import PATHS, Documents, Path, cudnn_alone, per_document

TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-4}
LENGTHS = (700, 1, 64, 4200, 129, 2)  # 4200: hybrid gives it its own call; 1: a single token
SHAPES = {"glm": (32, 2, 128), "llama": (32, 8, 128)}  # heads, key heads, width
PARITY_SHAPES = {"glm": (16, 1, 128), "llama": (8, 2, 128)}  # as many queries per key, few enough for float64 on a CPU
TINY = (4, 2, 16)
TOKENS = 32_768
PACKS = {"few_long": 3, "many_short": 96}  # documents


def cases(place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """Parity of every path that this machine has; the speed of the path that ``auto`` chooses, then of the others."""
    paths = [name for name in PATHS if is_available(name, place)]
    found = []
    for family, shape in PARITY_SHAPES.items():
        size = TINY if place.quick else shape
        found += [
            Case("parity", f"attention/parity_{family}/{name}", partial(parity, place, PATHS[name], size, LENGTHS))
            for name in paths
        ]
    if "cudnn" in paths:  # without a fallback; it refuses documents of one token
        run = partial(parity, place, cudnn_alone, PARITY_SHAPES["glm"], (700, 64, 300))
        found.append(Case("parity", "attention/parity_glm/cudnn_alone", run))
    ours = best_path(place.device.type, place.dtype)
    for pack, count in PACKS.items():
        for family, shape in SHAPES.items():
            size = TINY if place.quick else shape
            found += [
                Case("ours" if name == ours else "rivals", f"attention/{pack}_{family}/{name}",
                     partial(speed, place, name, size, count))
                for name in paths
                if not (name == "cudnn" and pack == "many_short")
            ]  # fmt: skip
    return found


def is_available(name: str, place: Place) -> bool:
    """Whether a path can run on tensors of this device and format."""
    problem = None if name == "per_document" else unfit(place.device.type, place.dtype)
    return (problem or attention_problem(cast("Any", name))) is None


def parity(place: Place, path: Path, shape: tuple[int, int, int], lengths: tuple[int, ...]) -> Numbers:
    """Output and the gradients of query, key and value, compared with float64 on the CPU."""
    lengths = tuple(min(length, 40) for length in lengths) if place.quick else lengths
    query, inputs = _with_slopes(place, shape, sum(lengths))
    wanted = _exact(place, shape, lengths)
    place.poison()
    return within(relative_error(_both(path, inputs, query, lengths), wanted), TOLERANCE[place.dtype])


def speed(place: Place, name: str, shape: tuple[int, int, int], count: int) -> Numbers:
    """Time of the forward and backward pass of one layer's attention."""
    tokens, count = (256, min(count, 8)) if place.quick else (TOKENS, count)
    query, key, value = inputs = make_inputs(place, shape, tokens)
    rng = random.Random(0)
    draws = [cut(rng, tokens, count) for _ in range(5)]

    def once(lengths: tuple[int, ...]) -> None:
        output = PATHS[name](query, key, value, Documents(lengths, None, max(lengths)), shape[2] ** -0.5)
        torch.autograd.grad(output.sum(), inputs)

    same = place.time(lambda number: once(draws[0]), 3)
    fresh = place.time(lambda number: once(draws[number + 1]), 3)
    flops = 6.0 * shape[0] * shape[2] * sum(length**2 for length in draws[0])
    numbers = {"milliseconds": same * 1e3, "milliseconds_fresh": fresh * 1e3, "model_tflops": flops / same / 1e12}
    copies = name in ("varlen", "hybrid") and repeats_keys()
    return {**numbers, "repeats_keys": True} if copies else numbers


def cut(rng: random.Random, tokens: int, count: int) -> tuple[int, ...]:
    """Lengths of ``count`` uneven documents that have ``tokens`` tokens together."""
    weights = [rng.uniform(0.5, 1.5) for _ in range(count)]
    lengths = [max(1, int(tokens * weight / sum(weights))) for weight in weights]
    return (*lengths[:-1], tokens - sum(lengths[:-1]))


def make_inputs(place: Place, shape: tuple[int, int, int], tokens: int) -> list[Tensor]:
    """Queries, keys and values, drawn on the device, because one thread of the host would take seconds."""
    heads, kv_heads, width = shape
    generator = torch.Generator(place.device).manual_seed(0)
    options: dict[str, Any] = {"generator": generator, "device": place.device}
    drawn = [torch.randn(1, count, tokens, width, **options) for count in (heads, kv_heads, kv_heads)]
    return [tensor.to(place.dtype).requires_grad_() for tensor in drawn]


def _with_slopes(place: Place, shape: tuple[int, int, int], tokens: int) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator(place.device).manual_seed(1)
    slopes = torch.randn(1, tokens, shape[0], shape[2], generator=generator, device=place.device)
    return slopes, make_inputs(place, shape, tokens)


def _both(path: Path, tensors: list[Tensor], slopes: Tensor, lengths: tuple[int, ...]) -> list[Tensor]:
    query, key, value = leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    output = path(query, key, value, Documents(lengths, None, max(lengths)), query.shape[-1] ** -0.5)
    return [output.detach(), *torch.autograd.grad((output * slopes.to(output)).sum(), leaves)]


@lru_cache(maxsize=1)
def _exact(place: Place, shape: tuple[int, int, int], lengths: tuple[int, ...]) -> list[Tensor]:
    """The float64 result that all paths of a family are compared with; computed once."""
    slopes, inputs = _with_slopes(place, shape, sum(lengths))
    return _both(per_document, [tensor.double().cpu() for tensor in inputs], slopes.cpu(), lengths)
