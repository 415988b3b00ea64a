"""Every parameter of every hardware preset follows the learning-rate schedule."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.config.presets import hardware_preset, hardware_presets
from lwexp.config.train import Zero
from lwexp.train.loop.module import PackedTraining
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.parallel.strategy import zero_config, zero_optimizer
from tests.train.tiny_packs import tiny_model

PRESETS = sorted(hardware_presets())


class HostAdam(torch.optim.AdamW):
    """In place of DeepSpeedCPUAdam, which needs a compiler."""

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float], adamw_mode: bool) -> None:
        assert adamw_mode
        super().__init__(groups, lr=lr, betas=betas)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_group_follows_the_schedule(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 steps, peak 0.5, 2 of warm-up: 0.25, 0.5, then 0.25*(1 + cos(pi*i/8)) for i = 0..7."""
    monkeypatch.setattr("deepspeed.ops.adam.DeepSpeedCPUAdam", HostAdam)
    hardware = hardware_preset(preset)
    config = compose().objective.optimizer.model_copy(update={"lr": 0.5, "warmup_ratio": 0.2, "schedule": "cosine"})
    model = tiny_model("glm", torch.bfloat16 if hardware.number_bytes == 2 else torch.float32)
    if isinstance(hardware, Zero):
        optimizer = zero_optimizer(model, config, hardware)
    else:
        optimizer = build_optimizer(model, config, hardware.moments)
    module = PackedTraining(lambda: model, compose().objective, config, 10, recompute=False)
    wanted = [0.25, 0.5, *(0.25 * (1 + math.cos(math.pi * i / 8)) for i in range(8))]
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters()}
    assert len(optimizer.param_groups) == 2
    for step, rate in enumerate(wanted):
        module._set_learning_rate(optimizer, step)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate, rate])


@pytest.mark.parametrize("preset", [name for name in PRESETS if isinstance(hardware_preset(name), Zero)])
def test_deepspeed_makes_no_second_optimiser(preset: str) -> None:
    """It makes one, which no schedule reaches, if an offloaded optimiser has a ratio other than 1."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    hardware = hardware_preset(preset)
    assert isinstance(hardware, Zero)
    theirs = DeepSpeedZeroConfig(**zero_config(hardware, grad_clip=1.0)["zero_optimization"])
    assert (theirs.offload_optimizer is None) == (hardware.offload_optimizer == 0)
    assert theirs.offload_optimizer is None or theirs.offload_optimizer.ratio == 1.0


ENGINES = {(3, "bf16-true"), (3, "32-true"), (2, "bf16-true"), (2, "32-true")}
"""ZeRO stages and number formats whose rates test_train_zero and test_train_zero_dpo read off a running engine."""


def test_presets_that_run_on_a_cpu_have_their_rates_read_off_a_running_engine() -> None:
    """All ZeRO presets but the one that offloads, whose AdamW needs a GPU beside it; one-GPU presets have no engine."""
    held = {preset: hardware_preset(preset) for preset in PRESETS}
    settings = {n: (h.stage, h.precision) for n, h in held.items() if isinstance(h, Zero) and not h.offload_optimizer}
    assert settings.keys() == {"cpu_zero3", "multinode", "zero2_8x80g", "zero3_8x80g"}
    assert set(settings.values()) <= ENGINES
