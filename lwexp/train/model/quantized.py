"""Frozen weights in 4 bits, through bitsandbytes: the base model of QLoRA.

The model is loaded as always, with every check of its weights, and then its matrices are quantised one after the other.
Loading through transformers' own quantisation would skip those checks, and cannot start from random weights.

Source: QLoRA (arXiv 2305.14314): NormalFloat4, one scale for 64 weights, and these scales in 8 bits.
"""

import functools
import logging
from typing import Any

from torch import Tensor, nn

from lwexp.config.train import ModelConfig
from lwexp.records import LwexpError


def quantize_matrices(model: nn.Module, config: ModelConfig, device: str) -> None:
    """Put the matrices of the model's layers into 4 bits. ``quantize=none`` changes nothing.

    Args:
        model: Changed in place. Embeddings, head, norms and biases stay as they are.
        config: Names the matrices.
        device: Where the matrices are quantised, one at a time, and stay. One core needs about a second for ten million
            weights.

    Raises:
        LwexpError: If bitsandbytes is not installed.
    """
    if config.quantize == "none":
        return
    layer_class = _frozen_4_bit_layer()
    for name in [name for name, _ in model.named_modules()]:  # names only, so that each layer is freed at once
        layer = model.get_submodule(name)
        parent, _, own_name = name.rpartition(".")
        if type(layer) is nn.Linear and own_name in config.family.matrices:
            setattr(model.get_submodule(parent), own_name, layer_class(layer, device))
    untyped: Any = model
    untyped.is_loaded_in_4bit = True  # peft looks here before it wraps such layers


@functools.cache
def _frozen_4_bit_layer() -> Any:
    """The class of a layer in 4 bits. It is made here because its base class is in an optional package."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # on import it warns of optional CPU kernels
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError:
        raise LwexpError("model.quantize=nf4 needs bitsandbytes; pip install 'lwexp[qlora]'") from None

    class Frozen4Bit(Linear4bit):  # type: ignore[misc]
        """An ``nn.Linear`` in 4 bits, never trained.

        Checkpoints leave it out: every start of a run makes the same 4 bits from the same weights.
        """

        def __init__(self, layer: nn.Linear, device: str) -> None:
            sizes = layer.in_features, layer.out_features
            dtype = layer.weight.dtype
            super().__init__(*sizes, bias=False, compute_dtype=dtype, quant_type="nf4", device="meta")
            full = layer.weight.detach()
            weight = Params4bit(full, requires_grad=False, quant_type="nf4", compress_statistics=True, module=self)
            self.weight = weight.to(device)
            self.bias = layer.bias

        def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
            pass

        def _load_from_state_dict(self, *arguments: Any) -> None:
            pass

    return Frozen4Bit


def full_state(plain: nn.Module, trained: nn.Module) -> dict[str, Tensor]:
    """The trained adapter on the model's own weights, on the CPU.

    Args:
        plain: The model as it was before training, without weights in 4 bits.
        trained: The model with weights in 4 bits. All but its adapter is frozen.
    """
    adapter = {name: weight.to("cpu") for name, weight in trained.state_dict().items() if ".lora_" in name}
    return plain.state_dict() | adapter
