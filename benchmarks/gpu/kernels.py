"""Whole small models with each choice of kernels: log-probs and all gradients compared with eager float64.

In float32 with full-precision products, an error can only come from the kernel. In bf16 it is mostly rounding, so the
limit is loose and finds only kernels that are broken for bf16 alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.gpu.cases import Case, Numbers
from benchmarks.gpu.models import make_model, make_pack, model_config
from benchmarks.gpu.place import Place, relative_error, within
from lwexp.train.model.kernels import kernels_problem
from lwexp.train.model.logprobs import pack_logprobs

SHAPE = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2, "vocab_size": 2000,
         "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64}  # fmt: skip
LENGTHS = (300, 7, 90)
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


def cases(place: Place, earlier: Mapping[str, Numbers]) -> list[Case]:
    """Both families, with each kernel and each number format that the device supports."""
    choices = ["eager"]
    if place.is_cuda:
        choices += [name for name in ("compile", "liger") if kernels_problem(cast("Any", name), "cuda") is None]
    formats = [torch.float32] + ([torch.bfloat16] if place.is_cuda else [])
    return [
        Case("parity", f"kernels/{family}_{str(dtype).removeprefix('torch.')}/{fuse}",
             partial(parity, place, family, fuse, dtype))
        for family in ("glm4", "llama31")
        for dtype in formats
        for fuse in choices
    ]  # fmt: skip


def parity(place: Place, family: str, fuse: str, dtype: torch.dtype) -> Numbers:
    """The error of log-probs and of every weight's gradient, as one number."""
    wanted = _exact(place, family)
    config = model_config(place, family, SHAPE)
    model = make_model(place, config, dtype=dtype, fuse=fuse)
    model.load_state_dict(_weights(place, family))
    place.poison()
    return within(relative_error(_results(model, place), wanted), TOLERANCE[dtype])


def _results(model: Any, place: Place) -> list[Tensor]:
    """Log-probs, then gradients in the order of the weights' names."""
    device = next(model.parameters()).device
    pack = make_pack(LENGTHS, model.config.vocab_size, 0).to(device)
    logprobs = pack_logprobs(model, pack)
    slopes = torch.linspace(0.5, 1.5, len(logprobs), device=device)
    (logprobs * slopes).sum().backward()
    gradients = [parameter.grad for _, parameter in sorted(model.named_parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [logprobs.detach(), *cast("list[Tensor]", gradients)]


@lru_cache(maxsize=1)
def _exact(place: Place, family: str) -> list[Tensor]:
    """The result that all kernels are compared with: eager, in float64, on the CPU."""
    host = place._replace(device=torch.device("cpu"))
    model = make_model(host, model_config(place, family, SHAPE), dtype=torch.float64)
    model.load_state_dict(_weights(place, family))
    return _results(model, host)


@lru_cache(maxsize=1)
def _weights(place: Place, family: str) -> dict[str, Tensor]:
    """Weights that bf16 can represent exactly, so that all formats start from the same ones."""
    host = place._replace(device=torch.device("cpu"))
    model = make_model(host, model_config(place, family, SHAPE), dtype=torch.bfloat16)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
