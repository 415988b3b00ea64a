"""Each path of packed attention against an explicit mask. CUDA kernels are stood in for; the rest is what runs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend

from lwexp.config import compose
from lwexp.config.base import ConfigError
from lwexp.records import LwexpError
from lwexp.train.model import attention, attention_paths
from lwexp.train.model.attention_paths import PATHS, Documents

LENGTHS = (5, 1, 9, 2, 3, 8)
SCALE = 0.3  # not dim ** -0.5, so that a path that forgets it shows


def masked(query: Tensor, key: Tensor, value: Tensor, scale: float | None) -> Tensor:
    """[1, heads, tokens, dim] in, [1, tokens, heads, dim] out: one mask over the pack, softmax by hand in float64."""
    document = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    mask = (document[:, None] == document[None]) & torch.ones(len(document), len(document)).tril().bool()
    groups = query.shape[1] // key.shape[1]
    k, v = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ k.transpose(2, 3) * (scale if scale is not None else query.shape[-1] ** -0.5)
    return (scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v).transpose(1, 2)


def varlen_kernel(query: Any, key: Any, value: Any, bounds: Any, scale: float | None) -> Any:
    """Stands in for a kernel on [tokens, heads, dim]: documents cut at ``bounds``, which only it looks at."""
    parts = []
    for start, stop in zip(bounds.tolist()[:-1], bounds.tolist()[1:], strict=True):
        q, k, v = (t[start:stop].transpose(0, 1)[None] for t in (query, key, value))
        parts.append(F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)[0])
    return torch.cat(parts, dim=1).transpose(0, 1)


def varlen_of_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    assert query.shape[1] == key.shape[1]
    return varlen_kernel(query, key, value, cu_seq_q, None) if is_causal else None


def varlen_of_2_13(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1),
    enable_gqa=False,
):  # fmt: skip
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert cu_seq_q.dtype == torch.int32
    assert max_q == int(cu_seq_q.diff().max())
    return varlen_kernel(query, key, value, cu_seq_q, scale) if window_size == (-1, 0) else None


def flash_kernel(q, k, v, cu_q, cu_k, max_q, max_k, *, softmax_scale, causal, gives_tuple):
    attended = varlen_kernel(q, k, v, cu_q, softmax_scale) if causal else None
    return (attended, None) if gives_tuple else attended


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((4, 8), (2, 8), (2, 8))
    drawn = [torch.randn(1, h, sum(LENGTHS), d, dtype=torch.float64, generator=generator) for h, d in shapes]
    return tuple(tensor.requires_grad_() for tensor in drawn)  # type: ignore[return-value]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", varlen_of_2_13)
    monkeypatch.setattr(attention_paths, "installed_flash", lambda: partial(flash_kernel, gives_tuple=True))
    attention_paths.varlen_parameters.cache_clear()
    yield monkeypatch
    attention_paths.varlen_parameters.cache_clear()


def check(path: Any, inputs: tuple[Tensor, Tensor, Tensor], scale: float = SCALE) -> None:
    """Output and all three gradients, under random slopes."""
    wanted = masked(*inputs, scale)
    got = path(*inputs, Documents(LENGTHS, None, max(LENGTHS)), scale)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    slopes = torch.randn(wanted.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = zip(torch.autograd.grad((got * slopes).sum(), inputs),
                    torch.autograd.grad((wanted * slopes).sum(), inputs), strict=True)  # fmt: skip
    for mine, theirs in gradients:
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_one_call_a_document_equals_an_explicit_mask(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    check(PATHS["per_document"], inputs)


@pytest.mark.parametrize("path", ["varlen", "flash", "hybrid"])
@pytest.mark.usefixtures("kernels")
def test_what_is_around_a_stand_in_kernel_equals_an_explicit_mask(
    path: str, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    """Layouts, boundaries, scale and grouped heads. The kernels themselves: ``benchmarks.gpu parity`` on a GPU."""
    check(PATHS[path], inputs)


def test_cudnn_is_asked_first_and_others_only_where_it_refuses(
    inputs: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers are not tested here: a CPU has no cuDNN, so the last of the list computes them."""
    orders = []
    sdpa = F.scaled_dot_product_attention

    def spy(*args: Any, **options: Any) -> Tensor:
        orders.append(torch._C._get_sdp_priority_order()[0])
        return sdpa(*args, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    check(PATHS["cudnn"], inputs)
    assert orders == [SDPBackend.CUDNN_ATTENTION.value] * len(LENGTHS)
    assert torch._C._get_sdp_priority_order()[0] != SDPBackend.CUDNN_ATTENTION.value  # put back afterwards
    with pytest.raises(RuntimeError, match="backend"):
        attention_paths.cudnn_alone(*inputs, Documents(LENGTHS, None, max(LENGTHS)), SCALE)


def test_every_path_is_tested_above() -> None:
    assert set(PATHS) == {"per_document", "varlen", "flash", "hybrid", "cudnn"}


@pytest.mark.parametrize("long", [1, 2, 3, 5, 9, 100])
@pytest.mark.usefixtures("kernels")
def test_hybrid_puts_documents_back_where_they_were(long: int, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    """Thresholds that make all documents long, none, and every mixture of runs between."""
    check(partial(attention_paths.hybrid, long=long), inputs)


def test_varlen_speaks_the_older_signature_too(
    inputs: tuple[Tensor, Tensor, Tensor], kernels: pytest.MonkeyPatch
) -> None:
    kernels.setattr("torch.nn.attention.varlen.varlen_attn", varlen_of_2_10)
    attention_paths.varlen_parameters.cache_clear()
    check(attention_paths.varlen, inputs, scale=8**-0.5)
    with pytest.raises(AssertionError, match="fixed scale"):
        check(attention_paths.varlen, inputs)


def test_flash_attention_2_gives_no_tuple(inputs: tuple[Tensor, Tensor, Tensor], kernels: pytest.MonkeyPatch) -> None:
    kernels.setattr(attention_paths, "installed_flash", lambda: partial(flash_kernel, gives_tuple=False))
    check(attention_paths.flash, inputs)


def test_negative_control_a_shifted_boundary_shows(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    shifted = Documents((4, 2, *LENGTHS[2:]), None, 9)
    difference = attention_paths.per_document(*inputs, shifted, SCALE) - masked(*inputs, SCALE)
    assert difference.abs().max() > 0.1


def test_documents_bounds_are_made_once() -> None:
    bounds = attention_paths.boundaries((3, 4), torch.device("cpu"))
    assert bounds.tolist() == [0, 3, 7]
    assert bounds.dtype == torch.int32
    assert attention_paths.boundaries((3, 4), torch.device("cpu")) is bounds


def test_auto_takes_flash_then_varlen_then_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attention.best_path("cpu", torch.bfloat16) == "per_document"
    assert attention.best_path("cuda", torch.float32) == "per_document"
    monkeypatch.setattr(attention, "installed_flash", lambda: flash_kernel)
    assert attention.best_path("cuda", torch.bfloat16) == "flash"
    monkeypatch.setattr(attention, "installed_flash", lambda: None)
    assert attention.best_path("cuda", torch.bfloat16) == "varlen"
    monkeypatch.setattr(attention, "has_varlen", lambda: False)
    assert attention.best_path("cuda", torch.bfloat16) == "per_document"


@pytest.mark.parametrize("choice", ["varlen", "cudnn", "flash", "hybrid"])
def test_a_cuda_path_is_refused_on_a_cpu(choice: Any) -> None:
    q = torch.randn(1, 2, 6, 4)
    with pytest.raises(LwexpError, match=f"hardware.attention={choice}: .* on cpu; set hardware.attention="):
        attention.packed_attention(torch.nn.Module(), q, q, q, None, lengths=(6,), choice=choice)


def test_what_is_not_installed_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "installed_flash", lambda: None)
    assert "needs the flash_attn package" in (attention.attention_problem("flash") or "")
    monkeypatch.setattr(attention, "has_varlen", lambda: False)
    assert "torch.nn.attention.varlen" in (attention.attention_problem("hybrid") or "")
    assert attention.attention_problem("auto") is None


def test_a_path_that_fails_on_the_device_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_kernel(choice: str) -> None:
        raise RuntimeError("No available kernel. Aborting execution.\nand a trace")

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "T4"))
    monkeypatch.setattr(attention, "_try_on_device", no_kernel)
    problem = attention.attention_problem("cudnn")
    assert problem == "hardware.attention=cudnn fails on T4: No available kernel. Aborting execution.; set it to auto"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("hardware=cpu", "hardware.attention=flash"), ("hardware.attention", "per_document")),
        (("model=glm4", "hardware=gpu1", "hardware.precision=32-true", "hardware.attention=cudnn"), ("bf16",)),
        (("model=glm4", "hardware=gpu1", "hardware.attention=fast"), ("hardware.attention", "'varlen'")),
        (
            ("model=glm4", "hardware=gpu1", "hardware.activation_checkpointing=false",
             "hardware.activation_offload=true"),
            ("hardware.activation_offload", "set it to true"),
        ),
        (("hardware=cpu", "hardware.kernels=liger"), ("hardware.kernels", "compile")),
    ],
)  # fmt: skip
def test_choices_that_cannot_be_honoured_are_refused_by_the_config(
    overrides: tuple[str, ...], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as refusal:
        compose(*overrides)
    for word in words:
        assert word in str(refusal.value)
