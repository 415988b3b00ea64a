"""LoRA through peft: injected into the model in place, trained alone, merged into ordinary weights for export.

The model stays transformers' own class: packed attention, the ``TargetHead`` and ZeRO-3 see nothing new. DPO starts
from the merged model of an SFT run, so its reference is the base and the SFT adapter together, and its own adapter,
which starts at zero, starts exactly there.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lwexp.config.train import ModelConfig
from lwexp.records import LwexpError

ADAPTER = "default"
"""peft's name for an only adapter; part of its weights' names."""


def add_adapter(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Put a LoRA adapter on the family's matrices and freeze everything else. ``adapter=none`` changes nothing.

    Args:
        model: Changed in place. Its outputs do not change, because B starts at zero.
        config: Rank, scale and matrices.
        seed: Of the random A.

    Raises:
        LwexpError: If peft is not installed.
    """
    if config.adapter == "none":
        return
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise LwexpError("model.adapter=lora needs peft; pip install 'lwexp[lora]'") from None
    lora = config.lora
    torch.manual_seed(seed)
    inject_adapter_in_model(
        LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(config.lora_targets),
            bias="none",
        ),
        model,
    )  # fmt: skip
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    # Inside DeepSpeed's zero.Init peft finds empty weights and leaves B as nn.Linear made it.
    ups = [parameter for name, parameter in model.named_parameters() if ".lora_B." in name]
    with torch.no_grad(), _gathered(ups):
        for parameter in ups:
            parameter.zero_()


@contextlib.contextmanager
def _gathered(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gathers parameters that ZeRO-3 has sharded, and writes them back at the end."""
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=0):
        yield


def has_adapter(names: Iterable[str]) -> bool:
    return any(".lora_A." in name for name in names)


def merged_state(state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Ordinary weights, W + (alpha / r) B A for each adapted matrix; a state without an adapter is returned as it is.

    Summed in float32 (float64 for float64) and rounded once. Works on names and tensors, because under ZeRO-3 the whole
    weights exist only in a gathered state, not in a model that peft could merge. Tests compare with peft's
    ``merge_and_unload``.
    """
    if not has_adapter(state):
        return state
    scale = config.lora.alpha / config.lora.r
    merged = {}
    for name, weight in state.items():
        if ".lora_" in name:
            continue
        plain = name.replace(".base_layer.", ".")
        if plain != name and name.endswith(".weight"):
            start = name.removesuffix(".base_layer.weight")
            wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
            down = state[f"{start}.lora_A.{ADAPTER}.weight"].to(wide)
            up = state[f"{start}.lora_B.{ADAPTER}.weight"].to(wide)
            weight = (weight.to(wide) + scale * (up @ down)).to(weight.dtype)
        merged[plain] = weight
    return merged


def trained_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters that the optimiser updates: all of them, or those of an adapter alone."""
    named: Any = model.named_parameters()
    return [(name, parameter) for name, parameter in named if parameter.requires_grad]
