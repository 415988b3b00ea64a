"""The layers of a model folder, counted from its config.json without a family that describes them."""

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from lwexp.extend import ModelFamily, Sizes
from lwexp.records import LwexpError
from lwexp.text.plain import first_line


class FolderLayers(ModelFamily):
    """What one layer of a folder's architecture holds."""

    kind: str = "hf"
    shapes: dict[str, tuple[int, int]]
    norms: tuple[int, ...]
    layer: int
    """Parameters of one layer."""

    is_read_from_folder: ClassVar = True

    def matrix_shapes(self, sizes: Sizes) -> dict[str, tuple[int, int]]:
        return self.shapes

    def norm_widths(self, sizes: Sizes) -> tuple[int, ...]:
        return self.norms

    def layer_parameters(self, sizes: Sizes) -> int:
        return self.layer


def folder_layers(config: Any) -> FolderLayers:
    """Build one layer without memory for its weights, and count what it holds.

    Args:
        config: A transformers config.

    Raises:
        LwexpError: If the architecture is not a stack of layers under ``model.layers``.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(with_layers(config, 1))
    layers = getattr(getattr(model, "model", None), "layers", None)
    if layers is None:
        raise LwexpError(f"model.path: {type(model).__name__} has no model.layers; choose a decoder of Llama's layout")
    shapes, norms = {}, []
    for name, module in layers[0].named_modules():
        if isinstance(module, nn.Linear):
            shapes[name.rpartition(".")[2]] = (module.in_features, module.out_features)
        elif type(module).__name__.endswith("Norm"):
            norms += [weight.numel() for weight in module.parameters(recurse=False)]
    layer = sum(weight.numel() for weight in layers[0].parameters())
    return FolderLayers(shapes=shapes, norms=tuple(norms), layer=layer)


def read_config(content: Mapping[str, Any]) -> Any:
    """The transformers config of a config.json, with the defaults that the file leaves out.

    Raises:
        LwexpError: If transformers has no such architecture.
    """
    from transformers import AutoConfig

    values = {name: value for name, value in content.items() if name not in ("model_type", "transformers_version")}
    try:
        return AutoConfig.for_model(str(content["model_type"]), **copy.deepcopy(values))
    except Exception as error:  # for a value of a wrong type, huggingface_hub raises errors of its own
        raise LwexpError(
            f"model.path: transformers cannot read a config of type {content.get('model_type')!r}: {first_line(error)}"
        ) from None


def with_layers(config: Any, layers: int) -> Any:
    """A copy of a config with fewer layers."""
    small = copy.deepcopy(config)
    small.num_hidden_layers = layers
    for name in ("layer_types", "no_rope_layers"):
        if getattr(small, name, None):
            setattr(small, name, getattr(small, name)[:layers])
    return small
