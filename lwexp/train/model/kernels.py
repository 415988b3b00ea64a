"""RMSNorm and SwiGLU of every layer as fused kernels, made by torch.compile or taken from Liger.

Liger's own patching supports ``llama`` and ``glm4`` but not ``glm``, the architecture of GLM-4-9B, which it skips with
only a log line; so the layers are patched here. Only the arithmetic between the matrix products is replaced. The
modules stay, because ZeRO-3's hooks are attached to them.
"""

import inspect
import logging
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from lwexp.config.train import LayerKernels
from lwexp.extend import Sizes
from lwexp.records import LwexpError

log = logging.getLogger(__name__)

Hidden = Float[Tensor, "*batch hidden"]
"""Hidden states, or the wider activations inside an MLP."""


class KernelFunctions(NamedTuple):
    """A layer's arithmetic between its matrix products."""

    rms_norm: Callable[[Hidden, Float[Tensor, " hidden"], float], Hidden]
    silu_mul: Callable[[Hidden, Hidden], Hidden]


def install_kernels(model: nn.Module, choice: LayerKernels, sizes: Sizes) -> None:
    """Make the norms and MLP of each layer use the chosen kernels; "eager" leaves the model as it is.

    Raises:
        LwexpError: If the model has more or fewer norms or MLPs than its family says; some might silently stay eager.
    """
    if choice == "eager":
        return
    if sizes.family.is_read_from_folder:
        log.warning("hardware.kernels=%s: not used; model.family=%s keeps its own layers", choice, sizes.family.kind)
        return
    kernels = load_kernels(choice)
    norms = [module for module in model.modules() if type(module).__name__.endswith("RMSNorm")]
    mlps = [module for module in model.modules() if type(module).__name__.endswith("MLP")]
    family, layers = sizes.family, sizes.num_hidden_layers
    wanted = (layers * len(family.norm_widths(sizes)) + 1, layers)
    if (len(norms), len(mlps)) != wanted:
        raise LwexpError(
            f"hardware.kernels={choice}: model.family={family.kind} has {wanted[0]} RMSNorms and {wanted[1]} MLPs in "
            f"{layers} layers, found {len(norms)} and {len(mlps)}; set hardware.kernels=eager"
        )
    for norm in norms:
        norm.forward = partial(_norm, norm, kernels)
    for mlp in mlps:
        mlp.forward = partial(_fused_mlp if family.fuses_gate_and_up else _plain_mlp, mlp, kernels)


def load_kernels(choice: LayerKernels) -> KernelFunctions:
    if choice == "liger":
        norm = import_module("liger_kernel.ops.rms_norm").LigerRMSNormFunction
        swiglu = import_module("liger_kernel.ops.swiglu").LigerSiLUMulFunction
        return KernelFunctions(
            # Offset 0 and Llama's casts. Not in place, because the residual stream shares the incoming gradient.
            lambda x, weight, eps: cast(Tensor, norm.apply(x, weight, eps, 0.0, "llama", False)),
            lambda gate, up: cast(Tensor, swiglu.apply(gate, up)),
        )
    if choice == "compile":
        # Dynamic, because packs differ in length by a few tokens, and each new length would trigger a compilation.
        # Unwrapped, because the tests add a wrapper that checks shapes, which torch.compile cannot trace.
        norm, gate = (torch.compile(inspect.unwrap(function), dynamic=True) for function in (rms_norm, silu_mul))
        return KernelFunctions(norm, gate)
    return KernelFunctions(rms_norm, silu_mul)


def kernels_problem(choice: LayerKernels, device: str) -> str | None:
    """Why the chosen kernels cannot be used on this machine; None if they can."""
    if choice == "liger" and find_spec("liger_kernel") is None:
        return "hardware.kernels=liger needs liger-kernel; pip install 'lwexp[gpu]', or set hardware.kernels=eager"
    compiler = "triton" if device == "cuda" else "g++"
    found = find_spec("triton") is not None if device == "cuda" else shutil.which("g++") is not None
    if choice == "compile" and not found:
        return f"hardware.kernels=compile needs {compiler}; install it, or set hardware.kernels=eager"
    return None


def rms_norm(x: Hidden, weight: Float[Tensor, " hidden"], eps: float) -> Hidden:
    """x / sqrt(mean(x^2) + eps) * weight, with the division in float32 or wider, as in GLM-4 and Llama."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype)


def silu_mul(gate: Hidden, up: Hidden) -> Hidden:
    return F.silu(gate) * up


def _norm(norm: Any, kernels: KernelFunctions, hidden: Hidden) -> Hidden:
    return kernels.rms_norm(hidden, norm.weight, norm.variance_epsilon)


def _fused_mlp(mlp: Any, kernels: KernelFunctions, hidden: Hidden) -> Hidden:
    gate, up = mlp.gate_up_proj(hidden).chunk(2, dim=-1)
    return cast(Tensor, mlp.down_proj(kernels.silu_mul(gate, up)))


def _plain_mlp(mlp: Any, kernels: KernelFunctions, hidden: Hidden) -> Hidden:
    return cast(Tensor, mlp.down_proj(kernels.silu_mul(mlp.gate_proj(hidden), mlp.up_proj(hidden))))
