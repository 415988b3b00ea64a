"""LoRA through peft: injected into the model in place, trained alone, merged into ordinary weights for export.

The model stays an instance of transformers' own class, so packed attention, the ``TargetHead`` and ZeRO-3 need no
changes. DPO starts from the merged model of an SFT run: its reference is the base model with the SFT adapter merged in.
DPO's own adapter starts at zero, so before the first step the trained model equals that reference.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lwexp.config.train import ModelConfig
from lwexp.records import LwexpError

ADAPTER = "default"
"""peft's default name for an adapter; it is part of the names of the adapter's weights."""


def add_adapter(model: nn.Module, config: ModelConfig, seed: int) -> None:
    """Add a LoRA adapter to the family's matrices and freeze everything else. ``adapter=none`` changes nothing.

    Args:
        model: Changed in place. Its outputs do not change, because B starts at zero.
        config: Gives the rank, the scale and the adapted matrices.
        seed: Seed for the random initialisation of A.

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
    untyped: Any = model
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if (
            "lora_" in name and config.quantize != "none"
        ):  # peft takes the format of the base weight unless it has 4 bits
            parameter.data = parameter.data.to(untyped.get_input_embeddings().weight.dtype)
    # Inside DeepSpeed's zero.Init peft finds empty weights, so B keeps the random values of nn.Linear. Zero it here.
    ups = [parameter for name, parameter in model.named_parameters() if ".lora_B." in name]
    with torch.no_grad(), _gathered(ups):
        for parameter in ups:
            parameter.zero_()


@contextlib.contextmanager
def _gathered(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Gather parameters that ZeRO-3 has sharded, and write them back at the end."""
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameters, modifier_rank=0):
        yield


def adapter_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The adapter's own weights, under the names that peft gives them in a file."""
    return {
        f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}": weight
        for name, weight in state.items()
        if ".lora_" in name
    }


def adapted_matrices(names: Iterable[str]) -> list[str]:
    """Short names of the adapted matrices, such as q_proj."""
    return sorted({name.split(".lora_A.")[0].rpartition(".")[2] for name in names if ".lora_A." in name})


def trained_parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters that the optimiser updates: all of the model's, or only the adapter's."""
    named: Any = model.named_parameters()
    return [(name, parameter) for name, parameter in named if parameter.requires_grad]
