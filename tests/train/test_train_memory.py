"""The memory plan against hand arithmetic, DeepSpeed's estimator, transformers' parameter counts and fake tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from lwexp.config import compose
from lwexp.config.presets import hardware_preset
from lwexp.config.train import Lora, Zero
from lwexp.extend import Sizes
from lwexp.train.model.build import random_config
from lwexp.train.model.dimensions import model_sizes, published_models
from lwexp.train.planner.memory import GIB, MemoryPlan, plan_memory
from tests.train.tiny_packs import tiny_model_config

GLM, LLAMA = published_models()["zai-org/glm-4-9b-hf"].sizes, published_models()["meta-llama/Llama-3.1-8B"].sizes


def zero(name: str = "zero3_8x80g", **changes: Any) -> Zero:
    hardware = hardware_preset(name).model_copy(update=changes)
    assert isinstance(hardware, Zero)
    return hardware


def gib(plan: MemoryPlan) -> dict[str, float]:
    return {term.name: term.bytes / GIB for term in plan.device}


def host(plan: MemoryPlan) -> dict[str, float]:
    return {term.name: term.bytes / GIB for term in plan.host}


def test_glm4_on_eight_gpus_by_hand() -> None:
    """N = 9,399,951,360 and W = 8, in GiB (2**30).

    2N/W 2.189; 4N/W 4.377; 12N/W 13.132. Layer inputs 40*32768*4096*2 B = 10. One layer's backward
    32768*2*(9*4096 + 6*13696 + 3*4096 + 2*256) B = 65536*131,840 B = 8.047. Head: two tiles of 0.5,
    2*151552*4096 B = 1.156 for its gradient, 6*32768*4096*2 B = 1.5 for rows: 3.656.
    Gathered: 2*(1.1e9 + 620,756,992) B = 3.205. Buckets 8*2e8 B = 1.490. Runtime 3.
    Peak: 2.189 + 4.377 + 13.132 + 3 + (3.205 + 1.490 + 10 + 8.047) = 45.440; the update (4e9 B = 3.7) is less.
    """
    plan = plan_memory(GLM, zero(), 32_768)
    assert gib(plan) == pytest.approx(
        {
            "parameters": 2.189, "gradients": 4.377, "optimiser": 13.132, "update": 3.725, "gathered weights": 3.205,
            "reduce buckets": 1.490, "layer inputs": 10.0, "one layer": 8.047, "log-probs": 3.656, "runtime": 3.0,
        },
        abs=0.001,
    )  # fmt: skip
    assert plan.device_gib == pytest.approx(45.440, abs=0.002)


def test_glm4_on_one_h200_by_hand() -> None:
    """bf16 moments, no offload. Weights 2N 17.509, gradients 2N 17.509, masters 4N 35.018, moments 2N + 2N 35.018,
    3 of runtime; in the backward pass layer inputs 10 and one layer 8.047 (log-probs: 3.656): 126.10 of 139 GiB. The
    update needs less: 14*151552*4096 B = 8.094 for copies of the largest weight. With float32 moments: 161.12."""
    plan = plan_memory(GLM, hardware_preset("gpu1_141g"), 32_768)
    assert plan.device_gib == pytest.approx(126.10, abs=0.01)
    assert gib(plan)["one weight"] == pytest.approx(8.094, abs=0.001)
    assert plan.host_gib == 0
    assert plan_memory(GLM, hardware_preset("gpu1"), 32_768).device_gib == pytest.approx(161.12, abs=0.01)


def test_llama31_on_one_h200_by_hand() -> None:
    """N = 8,030,261,248: 12N 89.746, 3 of runtime, layer inputs 32*32768*4096*2 B = 8, and one layer's backward
    65536*(9*4096 + 6*14336 + 3*4096 + 2*1024) B = 8.375: 109.12 of 139 GiB."""
    plan = plan_memory(LLAMA, hardware_preset("gpu1_141g"), 32_768)
    assert plan.device_gib == pytest.approx(109.12, abs=0.01)


def test_glm4_offloaded_on_one_gpu_by_hand() -> None:
    """Host: 3 + 12N 105.053 of optimiser, gradients 4N 35.018, and the same again for the update: 178.09 GiB; with the
    weights 2N 195.60. Pinned, torch would make 64 of the 35.018, and 10 * 4 of the ten parts for the update."""
    plan = plan_memory(GLM, zero("zero3_offload", devices=1, pin_memory=False), 32_768)
    assert plan.host_gib == pytest.approx(195.60, abs=0.01)
    pinned = host(plan_memory(GLM, zero("zero3_offload", devices=1), 32_768))
    assert pinned["gradients"] == 64.0
    assert pinned["gradients to update"] == 40.0


@pytest.mark.parametrize("sizes", [GLM, LLAMA], ids=["glm4", "llama31"])
@pytest.mark.parametrize("nodes", [1, 2])
def test_states_agree_with_deepspeeds_own_estimator(sizes: Sizes, nodes: int) -> None:
    """``estimate_zero3_model_states_mem_needs``: 18 bytes a parameter and rank besides the largest layer.

    Ours are 2 + 4 + 12; its term for the largest layer is our gathered weights, which we count as live ones.
    """
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as estimate

    plan = gib(plan_memory(sizes, zero(num_nodes=nodes), 32_768))
    _, device, largest = estimate(
        sizes.parameters, sizes.embedding_parameters, num_gpus_per_node=8, num_nodes=nodes, cpu_offload=False
    )
    ours = plan["parameters"] + plan["gradients"] + plan["optimiser"]
    assert ours == pytest.approx((device - largest) / GIB, rel=1e-6)


def test_offloaded_states_agree_with_deepspeeds_estimator() -> None:
    """It asks for 16N, or 18N with the weights, times a margin of 1.5 that we replace by what DeepSpeed allocates:
    a second copy of the gradients (4N). Without the margin the rest is the same."""
    from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs as estimate

    for parameters in (False, True):
        hardware = zero("zero3_offload", offload_parameters=parameters, pin_memory=False)
        plan = plan_memory(GLM, hardware, 32_768)
        theirs, _, _ = estimate(
            GLM.parameters, GLM.embedding_parameters, num_gpus_per_node=8, cpu_offload=True,
            cpu_offload_params=parameters, additional_buffer_factor=1.0,
        )  # fmt: skip
        ours = plan.host_gib - host(plan)["processes"] - 4 * GLM.parameters / GIB
        assert ours == pytest.approx(theirs / GIB, rel=1e-6)


def test_zero2_keeps_whole_weights_by_hand() -> None:
    """2N = 17.509, 4N/8 = 4.377, 12N/8 = 13.132, and nothing is gathered."""
    plan = gib(plan_memory(GLM, zero("zero2_8x80g"), 32_768))
    assert plan["parameters"] == pytest.approx(17.509, abs=0.001)
    assert plan["optimiser"] == pytest.approx(13.132, abs=0.001)
    assert "gathered weights" not in plan


def test_offloaded_activations_move_to_the_host() -> None:
    """GLM-4 at 131,072 tokens keeps 40 GiB of layer inputs a GPU, or three of 1 GiB on their way."""
    plan = plan_memory(GLM, zero(activation_offload=True), 131_072)
    assert gib(plan)["layer inputs"] == 3.0
    assert host(plan)["layer inputs"] == 8 * 40.0
    assert gib(plan_memory(GLM, zero(), 131_072))["layer inputs"] == 40.0


def test_a_lora_adapter_is_all_that_the_optimiser_sees() -> None:
    """Rank 16 on Llama-3.1's seven matrices: 16*(8192+5120+5120+8192 + 3*18432) = 1,310,720 a layer, 41.9M in all:
    the known size of a rank-16 adapter on all linear layers of Llama-3-8B."""
    sizes = model_sizes(compose("model=llama31", "model.adapter=lora").model)
    assert sizes.trained_parameters == 41_943_040
    assert sizes.parameters == LLAMA.parameters + 41_943_040
    plan = plan_memory(sizes, zero(), 32_768)
    assert gib(plan)["optimiser"] == pytest.approx(12 * 41_943_040 / 8 / GIB)
    assert plan.device_gib < plan_memory(LLAMA, zero(), 32_768).device_gib - 14


@pytest.mark.parametrize("name", ["glm4", "llama31"])
def test_parameters_of_the_papers_models_are_transformers_own(name: str) -> None:
    """A model on the meta device has all its shapes and none of its memory: 9,399,951,360 and 8,030,261,248."""
    from transformers import AutoModelForCausalLM

    config = compose(f"model={name}", "model.init=random", "model.tokenizer=train").model

    class Tokenizer:
        pad_token_id, bos_token_id, eos_token_id = 0, None, 1

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(random_config(config, Tokenizer()))
    assert model_sizes(config).parameters == sum(p.numel() for p in model.parameters())
    assert published_models()[compose(f"model={name}").model.path or ""].sizes == replace(
        model_sizes(config), tied=False
    )


@pytest.mark.parametrize("tied", [None, True, False])
def test_tied_embeddings_are_counted_once(tied: bool | None) -> None:
    from transformers import AutoModelForCausalLM

    config = tiny_model_config("glm", tie_word_embeddings=tied)

    class Tokenizer:
        pad_token_id, bos_token_id, eos_token_id = 0, None, 1

    model = AutoModelForCausalLM.from_config(random_config(config, Tokenizer()))
    assert model_sizes(config).parameters == sum(p.numel() for p in model.parameters())


def test_targets_of_another_family_are_refused() -> None:
    with pytest.raises(ValueError, match="glm has no gate_proj; choose from q_proj"):
        tiny_model_config("glm", lora=Lora(r=4, alpha=8.0, dropout=0.0, targets=("gate_proj",)))


@pytest.mark.parametrize("model", ["glm4", "llama31"])
def test_activations_are_what_is_alive_in_a_full_size_layer(model: str) -> None:
    """Our forward and backward at 32k on fake tensors, two layers of full width; the formulas leave out a percent."""
    from benchmarks.memory import counted_gib, planned_gib

    layers = "model.shape.num_hidden_layers=2"
    assert planned_gib(model, 32_768, layers) == pytest.approx(counted_gib(model, 32_768, layers), rel=0.03)
