"""Schedule, decay groups, and AdamW with float32 masters."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import nn

from lwexp.train.model.build import build_model, restore_rotary
from lwexp.train.parallel.optimizer import (
    MasterAdamW,
    decay_groups,
    gradient_norm,
    learning_rate_factor,
    round_to_bf16,
    scale_gradients,
)
from tests.train.tiny_packs import NoTokenizer, tiny_model, tiny_model_config


def test_cosine_by_hand() -> None:
    """10 steps, 2 of warm-up: 1/2, 1, then 0.5*(1 + cos(pi*i/8)) for i = 0..7."""
    got = [learning_rate_factor(step, 10, 0.2, "cosine") for step in range(10)]
    assert got[:3] == [0.5, 1.0, 1.0]
    assert got[3:] == pytest.approx([0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(1, 8)])


def test_constant_and_no_warmup() -> None:
    assert [learning_rate_factor(step, 3, 0.0, "constant") for step in range(3)] == [1.0, 1.0, 1.0]
    assert learning_rate_factor(0, 1, 0.03, "cosine") == 1.0


@pytest.mark.parametrize("family", ["glm", "llama"])
def test_biases_and_norms_do_not_decay(family: str) -> None:
    """Rule by name; in these models it is the same as: what has one dimension."""
    model = tiny_model(family)
    decayed, plain = decay_groups(model.named_parameters(), 0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert all(parameter.ndim == 2 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(model.parameters()))


def bf16_gradients(size: float) -> list[nn.Parameter]:
    """40 gradients of 300 to 11,700 numbers, in bf16."""
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(300 * n, dtype=torch.bfloat16)) for n in range(1, 40)]
    for parameter in parameters:
        parameter.grad = (size * torch.randn(parameter.shape, generator=generator)).bfloat16()
    return parameters


def exact_norm(parameters: list[nn.Parameter]) -> float:
    return math.sqrt(sum(float(p.grad.double().square().sum()) for p in parameters if p.grad is not None))


def test_the_norm_of_bf16_gradients_is_that_of_float64() -> None:
    parameters = bf16_gradients(0.01)
    norm = float(gradient_norm(parameters))
    assert norm == pytest.approx(exact_norm(parameters), rel=1e-5)
    scale_gradients(parameters, 1.0 / norm)
    assert exact_norm(parameters) == pytest.approx(1.0, rel=1e-3)  # each gradient is rounded to bf16 once more

    theirs = bf16_gradients(0.01)  # negative control: torch's own function, in bf16
    assert float(nn.utils.clip_grad_norm_(theirs, 1.0)) != pytest.approx(norm, rel=1e-4)


def test_float32_gradients_are_clipped_as_by_torch() -> None:
    """To the bit, so that curves of earlier runs stay."""
    ours, theirs = ([nn.Parameter(p.detach().float()) for p in bf16_gradients(0.01)] for _ in range(2))
    for mine, other, source in zip(ours, theirs, bf16_gradients(0.01), strict=True):
        assert source.grad is not None
        mine.grad, other.grad = source.grad.float(), source.grad.float()
    norm = gradient_norm(ours)
    assert torch.equal(norm, nn.utils.clip_grad_norm_(theirs, 1.0, foreach=True))
    scale_gradients(ours, float(torch.clamp(1.0 / (norm + 1e-6), max=1.0)))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours, theirs, strict=True))  # type: ignore[arg-type]


def test_no_gradients_have_no_norm() -> None:
    assert float(gradient_norm([nn.Parameter(torch.zeros(3))])) == 0


def test_masters_follow_torchs_adamw_in_float32() -> None:
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(5, 3))
    theirs = nn.Parameter(ours.detach().clone())
    a = MasterAdamW([{"params": [ours], "weight_decay": 0.1}], lr=0.01, betas=(0.9, 0.95))
    b = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(20):
        ours.grad = torch.randn(5, 3)
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs)


def small_steps(optimizer: str) -> float:
    """100 updates of 1e-5 each on a bf16 weight of 1.0, whose neighbours are 0.0039 and 0.0078 away."""
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    group = [{"params": [weight], "weight_decay": 0.0}]
    chosen = (
        MasterAdamW(group, lr=1e-4, betas=(0.9, 0.95)) if optimizer == "ours" else torch.optim.AdamW(group, lr=1e-4)
    )
    for _ in range(100):
        weight.grad = torch.ones(1, dtype=torch.bfloat16)
        chosen.step()
    return weight.item()


def test_small_updates_reach_bf16_weights() -> None:
    assert small_steps("ours") == pytest.approx(0.99, abs=0.004)


def test_negative_control_adamw_on_bf16_weights_stands_still() -> None:
    assert small_steps("torch") == 1.0


def test_masters_survive_saving_in_float32() -> None:
    weight = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    first = MasterAdamW([{"params": [weight]}], lr=1e-4, betas=(0.9, 0.95))
    weight.grad = torch.full((3,), 0.3, dtype=torch.bfloat16)
    first.step()
    other = nn.Parameter(weight.detach().clone())
    second = MasterAdamW([{"params": [other]}], lr=1e-4, betas=(0.9, 0.95))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for key in ("master", "mean", "square"):
        assert second.state[other][key].dtype == torch.float32
        assert torch.equal(second.state[other][key], first.state[weight][key])
    assert second.state[other]["step"] == 1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_random_rounding_to_bf16_is_right_on_average(sign: float) -> None:
    """bf16 numbers near 1 are 2**-7 apart: 1 + 2**-9 is a quarter of the way, so a quarter of the draws goes up."""
    count = 40_000
    values = torch.full((count,), sign * (1 + 2**-9))
    rounded = round_to_bf16(values, torch.Generator().manual_seed(0)).double() * sign
    assert set(rounded.tolist()) == {1.0, 1 + 2**-7}
    up = (rounded > 1).double().mean().item()
    assert up == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / count))


def test_numbers_that_bf16_has_are_left_alone() -> None:
    exact = torch.tensor([0.0, 1.0, -0.5, 3.0, 2.0**-100])
    assert torch.equal(round_to_bf16(exact.clone(), torch.Generator().manual_seed(0)).float(), exact)


def test_a_slow_second_moment_in_bf16_reaches_its_value() -> None:
    """beta2 = 0.999 and gradients of 1: after n steps the moment is 1 - 0.999**n, 0.865 for n = 2000."""
    weight, nearest = nn.Parameter(torch.zeros(500, dtype=torch.bfloat16)), torch.zeros(500, dtype=torch.bfloat16)
    optimizer = MasterAdamW([{"params": [weight]}], lr=1e-6, betas=(0.9, 0.999), moments="bf16")
    for _ in range(2000):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        nearest = (0.999 * nearest.float() + 0.001).bfloat16()
    square = optimizer.state[weight]["square"]
    assert square.dtype == optimizer.state[weight]["mean"].dtype == torch.bfloat16
    assert square.float().mean().item() == pytest.approx(0.865, abs=0.01)
    assert nearest.float().mean().item() < 0.6  # negative control: rounding to the nearest stops at 0.25


def random_steps(weights: list[nn.Parameter], optimizer: MasterAdamW, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)
        optimizer.step()


def two_weights(values: list[torch.Tensor] | None = None) -> tuple[list[nn.Parameter], MasterAdamW]:
    """Weights in two groups, as ``decay_groups`` makes them."""
    generator = torch.Generator().manual_seed(7)
    start = values or [torch.randn(shape, generator=generator).bfloat16() for shape in ((40, 30), (30,))]
    weights = [nn.Parameter(value.clone()) for value in start]
    groups = [{"params": [weights[0]], "weight_decay": 0.1}, {"params": [weights[1]], "weight_decay": 0.0}]
    return weights, MasterAdamW(groups, lr=1e-2, betas=(0.9, 0.95), moments="bf16")


def test_a_resume_with_bf16_moments_is_exact() -> None:
    """To the bit, through a file, with another state of torch's own random numbers."""
    weights, optimizer = two_weights()
    random_steps(weights, optimizer, range(5))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    torch.manual_seed(123)
    resumed, second = two_weights([weight.detach() for weight in weights])
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue())))
    forgetful, third = two_weights([weight.detach() for weight in weights])
    for pair in ((weights, optimizer), (resumed, second), (forgetful, third)):
        random_steps(*pair, range(5, 10))
    for mine, other, lost in zip(weights, resumed, forgetful, strict=True):
        assert torch.equal(mine, other)
        for key in ("master", "mean", "square"):
            assert torch.equal(optimizer.state[mine][key], second.state[other][key])
        assert not torch.equal(mine, lost)  # negative control: without the state


def test_bf16_moments_follow_torchs_adamw_in_float32() -> None:
    """Masters differ by less than a hundredth of the way they went; the first and the last bits of it are noise."""
    weights, optimizer = two_weights()
    exact = [nn.Parameter(weight.detach().float()) for weight in weights]
    start = [weight.detach().clone() for weight in exact]
    groups = [{"params": [exact[0]], "weight_decay": 0.1}, {"params": [exact[1]], "weight_decay": 0.0}]
    plain = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
    for step in range(40):
        random_steps(weights, optimizer, range(step, step + 1))
        for weight, other in zip(weights, exact, strict=True):
            assert weight.grad is not None
            other.grad = weight.grad.float()
        plain.step()
    for weight, other, began in zip(weights, exact, start, strict=True):
        error = (optimizer.state[weight]["master"] - other).norm() / (other - began).norm()
        assert 0 < error < 0.01


@pytest.mark.parametrize("positions", [256, 131_072])  # short: plain frequencies; long: Llama-3.1's stretched ones
@pytest.mark.parametrize("family", ["glm", "llama"])
def test_rotary_frequencies_are_restored_after_a_cast_of_the_model(family: str, positions: int) -> None:
    """As DeepSpeed casts it."""
    config = tiny_model_config(family)
    shape = config.shape.model_copy(update={"max_position_embeddings": positions})
    model: Any = build_model(config.model_copy(update={"shape": shape}), NoTokenizer(), seed=0, dtype=torch.float32)
    rotary = model.model.rotary_emb
    exact = rotary.inv_freq.clone()
    model.to(torch.bfloat16)
    assert rotary.inv_freq.dtype == model.lm_head.weight.dtype == torch.bfloat16  # negative control
    restore_rotary(model)
    assert model.lm_head.weight.dtype == torch.bfloat16
    assert rotary.inv_freq.dtype == torch.float32
    assert torch.equal(rotary.inv_freq, exact)


def test_negative_control_rounded_frequencies_would_be_whole_turns_off() -> None:
    """GLM-4's own 32 frequencies, at the last position of a 32k pack."""
    frequencies = 10_000.0 ** (-torch.arange(0, 64, 2) / 64)
    error = (frequencies.bfloat16().float() - frequencies).abs() * 32_767
    assert error.max() > 2 * math.pi
