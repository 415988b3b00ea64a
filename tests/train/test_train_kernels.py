"""Fused norms and MLPs: the same model, and every norm and MLP is reached. Liger's own kernels need a GPU."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch

from lwexp.train.model import kernels
from lwexp.train.model.build import build_model
from lwexp.train.model.logprobs import pack_logprobs
from tests.train.tiny_packs import NoTokenizer, make_documents, make_pack, tiny_model_config

PACKS = [make_pack(make_documents(seed, [9 + seed, 23, 4])) for seed in range(3)]


class LigerNorm(torch.autograd.Function):
    """liger_kernel.ops.rms_norm.LigerRMSNormFunction, as 0.8.5 is called; torch's own rms_norm inside."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, eps: float, offset: float, casting_mode: str, in_place: bool) -> Any:
        assert (offset, casting_mode, in_place) == (0.0, "llama", False)
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return torch.nn.functional.rms_norm(x, x.shape[-1:], weight, eps)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        with torch.enable_grad():
            x, weight = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            out = torch.nn.functional.rms_norm(x, x.shape[-1:], weight, ctx.eps)
        return (*torch.autograd.grad(out, (x, weight), grads[0]), None, None, None, None)


class LigerSwiGLU(torch.autograd.Function):
    """liger_kernel.ops.swiglu.LigerSiLUMulFunction."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        ctx.save_for_backward(gate, up)
        return gate * gate.sigmoid() * up

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        gate, up = ctx.saved_tensors
        s = gate.sigmoid()
        return grads[0] * up * s * (1 + gate * (1 - s)), grads[0] * gate * s


@pytest.fixture
def liger(monkeypatch: pytest.MonkeyPatch) -> None:
    norm, swiglu = ModuleType("rms_norm"), ModuleType("swiglu")
    norm.LigerRMSNormFunction, swiglu.LigerSiLUMulFunction = LigerNorm, LigerSwiGLU  # type: ignore[attr-defined]
    for name, module in (("liger_kernel", ModuleType("liger_kernel")), ("liger_kernel.ops", ModuleType("ops")),
                         ("liger_kernel.ops.rms_norm", norm), ("liger_kernel.ops.swiglu", swiglu)):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)


def model_with(family: str, fuse: Any) -> Any:
    config = tiny_model_config(family, initializer_range=0.1)
    model = build_model(config, NoTokenizer(), seed=0, dtype=torch.float64, fuse=fuse)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norm weights are 1 and would hide being left out
                parameter.add_(torch.linspace(-0.5, 0.5, len(parameter)))
    return model


def compare(family: str, fuse: Any) -> None:
    plain, fused = model_with(family, "eager"), model_with(family, fuse)
    for pack in PACKS:
        for model in (plain, fused):
            model.zero_grad()
            (pack_logprobs(model, pack) * torch.arange(len(pack.target_ids))).sum().backward()
        for (name, a), b in zip(plain.named_parameters(), fused.parameters(), strict=True):
            # The architectures divide in float32 even in a float64 model.
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("family", ["glm", "llama"])
@pytest.mark.usefixtures("liger")
def test_a_stand_in_for_liger_is_called_with_the_right_halves_and_epsilons(family: str) -> None:
    compare(family, "liger")


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_compiled_kernels_give_the_same_gradients_and_are_traced_once(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three packs of three lengths; with static shapes each function would be traced three times.

    Inductor's C++ is left out: it takes half a minute and is torch's to test.
    """
    from torch._dynamo.utils import counters

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()
    counters.clear()
    compare(family, "compile")
    assert counters["stats"]["unique_graphs"] == 2, counters["stats"]


def test_negative_control_swapped_halves_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    swapped = kernels.KernelFunctions(kernels.rms_norm, lambda gate, up: kernels.silu_mul(up, gate))
    monkeypatch.setattr(kernels, "load_kernels", lambda choice: swapped)
    with pytest.raises(AssertionError, match=r"model\.|lm_head"):
        compare("glm", "liger")


def test_what_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "pip install 'lwexp[gpu]'" in (kernels.kernels_problem("liger", "cuda") or "")
    assert "needs triton" in (kernels.kernels_problem("compile", "cuda") or "")
    assert "needs g++" in (kernels.kernels_problem("compile", "cpu") or "")
    assert kernels.kernels_problem("eager", "cpu") is None
