"""hardware=auto on one GPU: the first choice whose plan leaves 5% of the memory free."""

from __future__ import annotations

import pytest

from lwexp.config import compose
from lwexp.config.train import GPU, Auto, Zero
from lwexp.train.planner.hardware import Found, choose

AUTO = Auto(kind="auto")


@pytest.mark.parametrize(
    ("model", "gib", "wanted"),
    [  # GLM-4 needs 161.1 GiB with float32 moments and 126.1 with bf16 moments; Llama-3.1 139.0 and 109.1
        ("glm4", 180.0, "gpu1"),
        ("glm4", 139.8, "gpu1_141g"),
        ("llama31", 139.8, "gpu1_141g"),  # float32 moments would leave 0.6%
        ("llama31", 147.0, "gpu1"),
        ("llama31", 146.0, "gpu1_141g"),  # 139.0 is above 95% of it
        ("glm4", 132.0, "zero3_offload"),
        ("glm4", 79.0, "zero3_offload"),
    ],
)
def test_the_choice_on_one_gpu(model: str, gib: float, wanted: str) -> None:
    name, hardware, why = choose(Found(1, gib, "a GPU"), compose(f"model={model}").model, 32_768, AUTO, {})
    assert name == wanted
    assert hardware.device_gib is None if isinstance(hardware, (GPU, Zero)) else False
    if wanted == "gpu1_141g":
        assert isinstance(hardware, GPU)
        assert hardware.moments == "bf16"
        assert "gpu1 would need 170 GiB" in why or "gpu1 would need 146 GiB" in why
    if wanted == "zero3_offload":
        assert isinstance(hardware, Zero)
        assert (hardware.devices, hardware.offload_optimizer) == (1, 1.0)
        assert "gpu1 would need 170 GiB, gpu1_141g would need 133 GiB" in why


def test_an_adapter_needs_neither() -> None:
    """20 GiB for the weights and the adapter, and 18 of activations."""
    model = compose("model=glm4", "model.adapter=lora").model
    assert choose(Found(1, 79.0, "a GPU"), model, 32_768, AUTO, {})[0] == "gpu1"
