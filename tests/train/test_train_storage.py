"""What a plan says of checkpoints, resumes and copies, against measured sizes and hand arithmetic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.config.presets import hardware_preset
from lwexp.config.train import GPU, Zero
from lwexp.records import Conversation, Message
from lwexp.train.model.dimensions import model_sizes, published_models
from lwexp.train.parallel.optimizer import build_optimizer
from lwexp.train.planner.dry_run import describe_plan
from lwexp.train.planner.storage import (
    checkpoint_bytes,
    conversion_bytes,
    copying_hours,
    resume_host_bytes,
    saving_hours,
)
from tests.train.tiny_packs import tiny_model

GLM, LLAMA = published_models()["zai-org/glm-4-9b-hf"].sizes, published_models()["meta-llama/Llama-3.1-8B"].sizes
GIB, MIB = 2**30, 2**20


def zero(name: str = "zero3_8x80g", **changes: Any) -> Zero:
    hardware = hardware_preset(name).model_copy(update=changes)
    assert isinstance(hardware, Zero)
    return hardware


@pytest.mark.parametrize(
    ("stage", "precision", "adapter", "measured"),
    [
        (3, "bf16-true", "none", 10.7), (3, "32-true", "none", 10.7), (2, "bf16-true", "none", 12.4),
        (2, "32-true", "none", 14.2), (3, "bf16-true", "lora", 3.6), (3, "32-true", "lora", 5.4),
        (2, "bf16-true", "lora", 3.8), (2, "32-true", "lora", 5.9),
    ],
)  # fmt: skip
def test_a_checkpoint_has_the_size_that_two_ranks_wrote(
    stage: int, precision: str, adapter: str, measured: float
) -> None:
    """MiB in the log line "saved step 1" of `lwexp train model=tiny_glm hardware=cpu_zero3`; DeepSpeed's files have
    about 0.2 MiB beside the numbers."""
    sizes = model_sizes(compose("model=tiny_glm", f"model.adapter={adapter}").model)
    planned = checkpoint_bytes(sizes, zero("cpu_zero3", stage=stage, precision=precision)) / MIB
    assert planned <= measured + 0.05
    assert planned == pytest.approx(measured, abs=0.25)


@pytest.mark.parametrize(("stage", "measured"), [(3, 30.72), (2, 27.26)])
def test_the_conversion_takes_the_bytes_that_were_measured(stage: int, measured: float) -> None:
    """Bytes a parameter on disk after `ds_to_universal` of tiny_glm's two ranks in bf16, its temporary files kept."""
    sizes = model_sizes(compose("model=tiny_glm").model)
    planned = conversion_bytes(sizes, zero("cpu_zero3", stage=stage, precision="bf16-true")) / sizes.parameters
    assert planned == pytest.approx(measured, rel=0.06)


def test_glm4_on_eight_gpus_by_hand() -> None:
    """N = 9,399,951,360. ZeRO-3: 12N = 105.05 GiB; converting 24N + 12N/8 = 223.23; loading 12N = 105.05 on one node,
    with everything offloaded also 12N of gradients and masters and 2N of weights: 227.61. ZeRO-2: 14N = 122.56;
    loading 12N and 2N on each of eight ranks: 245.12."""
    assert checkpoint_bytes(GLM, zero()) / GIB == pytest.approx(105.05, abs=0.01)
    assert conversion_bytes(GLM, zero()) / GIB == pytest.approx(223.23, abs=0.01)
    assert resume_host_bytes(GLM, zero()) / GIB == pytest.approx(105.05, abs=0.01)
    assert resume_host_bytes(GLM, zero("zero3_offload")) / GIB == pytest.approx(227.61, abs=0.01)
    assert checkpoint_bytes(GLM, hardware_preset("gpu1")) / GIB == pytest.approx(122.56, abs=0.01)  # 14N
    assert checkpoint_bytes(GLM, hardware_preset("gpu1_141g")) / GIB == pytest.approx(87.54, abs=0.01)  # 10N
    assert checkpoint_bytes(GLM, zero("zero2_8x80g")) / GIB == pytest.approx(122.56, abs=0.01)
    assert resume_host_bytes(GLM, zero("zero2_8x80g")) / GIB == pytest.approx(245.12, abs=0.01)


def test_a_resume_on_one_gpu_by_hand() -> None:
    """The whole checkpoint is in host memory: 2N of weights and 4N of masters, with moments of 2N + 2N in bf16 (10N =
    87.54 GiB for GLM, 10 * 8,030,261,248 B = 74.79 for Llama) or 4N + 4N in float32 (14N = 122.56)."""
    one, plain = hardware_preset("gpu1_141g"), hardware_preset("gpu1")
    assert resume_host_bytes(GLM, one) / GIB == pytest.approx(87.54, abs=0.01)
    assert resume_host_bytes(LLAMA, one) / GIB == pytest.approx(74.79, abs=0.01)
    assert resume_host_bytes(GLM, plain) / GIB == pytest.approx(122.56, abs=0.01)
    small, large = (
        describe_plan(compose("model=glm4", "hardware=gpu1_141g", f"hardware.host_gib={host}.0")).text
        for host in (64, 128)
    )
    told = "resume: 87.5 GiB of host memory while a checkpoint is loaded"
    assert f"{told}, more than hardware.host_gib=64: the run could not be resumed there" in small
    assert told in large
    assert "could not be resumed" not in large


@pytest.mark.parametrize("preset", ["gpu1", "gpu1_141g"])
def test_the_tensors_of_a_one_gpu_checkpoint_take_the_planned_bytes(preset: str) -> None:
    """Counted in the states of model and optimiser after a step in the preset's formats."""
    hardware = hardware_preset(preset)
    assert isinstance(hardware, GPU)
    model = tiny_model("glm", torch.bfloat16)
    config = compose().objective.optimizer
    optimizer = build_optimizer(model, config, hardware.moments)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    states = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    tensors = [*model.parameters(), *(value for value in states if isinstance(value, torch.Tensor))]
    count = sum(parameter.numel() for parameter in model.parameters())
    per_parameter = resume_host_bytes(GLM, hardware) / GLM.parameters
    assert sum(tensor.nbytes for tensor in tensors) == count * per_parameter


def test_saves_and_copies_by_hand() -> None:
    """Five hours hold ten saves of 112.8 GB, and the last one is the eleventh: 1,240.8 s at 1 GB/s.

    One rank, optimiser on the host, not pinned: 8N = 75.2 GB a pack at 10 GB/s are 7.52 s; a step copies 2N = 18.8 GB
    back (1.88 s) and moves 28N = 263.2 GB in AdamW at 200 GB/s (1.316 s). Nothing offloaded copies nothing.
    """
    assert saving_hours(GLM, zero(), 5.0, 30) * 3600 == pytest.approx(1240.8, rel=1e-3)
    assert saving_hours(GLM, zero(), 5.0, None) * 3600 == pytest.approx(112.8, rel=1e-3)
    one = zero(devices=1, offload_optimizer=1.0, pin_memory=False)
    assert copying_hours(GLM, one, 32_768, packs=8, steps=1) * 3600 == pytest.approx(8 * 7.52 + 3.196, rel=1e-3)
    assert copying_hours(GLM, zero(), 32_768, packs=8, steps=1) == 0


RANKS = {"gpu1": 1, "zero3_8x80g": 8, "zero2_8x80g": 8, "zero3_offload": 8, "multinode": 16}
"""Written down here, so that a preset's ranks do not come from the code under test."""


@pytest.mark.parametrize("name", RANKS)
def test_the_hours_of_each_preset_against_a_count_of_packs_per_rank(name: str) -> None:
    """40 documents of 20,000 words, each 26,600 tokens for its words, 1.5 for the prompt and 10 for the format.

    They make 33 packs, 132 in four epochs. They are dealt out here one by one, step by step; every rank takes as long
    as the one with most packs. Each pack takes 6 * 8,779,194,368 + 6 * 40 * 4096 * 26,611.5 FLOPs a token.
    """
    row = Conversation(
        id="x", source="s", language="en", actual_words=20_000,
        messages=(Message(role="user", content="Write."), Message(role="assistant", content="word")),
    )  # fmt: skip
    batch = max(8, RANKS[name])
    packs = math.ceil(40 * 26_611.5 / 32_768)
    rounds = 0
    waiting = packs * 4
    while waiting:
        taken = min(batch, waiting)
        loads = [0] * RANKS[name]
        for pack in range(taken):
            loads[pack % RANKS[name]] += 1
        rounds += max(loads)
        waiting -= taken
    flops = (6 * 8_779_194_368 + 6 * 40 * 4096 * 26_611.5) * 40 * 26_611.5 / packs
    config = compose("model=glm4", f"hardware={name}", f"objective.global_batch={batch}", "objective.epochs=4")
    hardware: Any = config.hardware
    seconds = rounds * flops / (hardware.peak_tflops * 1e12 * hardware.mfu)
    hours = describe_plan(config, rows=[row] * 40).hours
    assert hours is not None
    assert hours.training * 3600 == pytest.approx(seconds, rel=1e-6)


def test_the_plan_tells_of_a_resume_that_the_host_cannot_hold() -> None:
    """105 GiB on a host of 64; the control has 1,000."""
    small, large = (
        describe_plan(compose("model=glm4", "hardware=zero3_8x80g", f"hardware.host_gib={host}.0")).text
        for host in (64, 1000)
    )
    assert "105.1 GiB of host memory on each node" in small
    assert "more than hardware.host_gib=64: the run could not be resumed there" in small
    assert "could not be resumed" not in large
    assert "disk: 105.1 GiB per checkpoint, 2 kept and one being written: 315.2 GiB" in large
    assert "on another number of ranks 223.2 GiB of disk in addition" in large
