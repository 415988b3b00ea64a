"""Any decoder that transformers can build: its layout is read from the folder's config.json, not written down here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from lwexp.extend import ModelFamily, Sizes, register
from lwexp.records import LwexpError


@register
class HuggingFace(ModelFamily):
    """The architecture that ``model.path`` names. ``lwexp.train.model.admission`` checks it before a run starts."""

    kind: Literal["hf"] = "hf"

    default_chat: ClassVar = "chatml"
    matrices: ClassVar = (
        "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj", "down_proj",
    )  # fmt: skip
    """Names that architectures use; a folder's own are found by ``of_config``."""
    has_known_kernels: ClassVar = False

    def takes(self, model_type: str | None) -> bool:
        """Every type; the self-check decides."""
        return model_type is not None

    def of_config(self, content: Mapping[str, Any]) -> tuple[ModelFamily, dict[str, Any]]:
        """Build one layer without memory for its weights, and count what it holds.

        Raises:
            LwexpError: If transformers does not know the architecture, or it is not a plain decoder.
        """
        import torch
        from torch import nn
        from transformers import AutoModelForCausalLM

        from lwexp.train.model.admission import read_config, with_layers

        config = read_config(content)
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(with_layers(config, 1))
        layers = getattr(getattr(model, "model", None), "layers", None)
        if layers is None:
            raise LwexpError(
                f"model.path: {type(model).__name__} has no model.layers; choose a decoder of Llama's layout"
            )
        shapes, norms = {}, []
        for name, module in layers[0].named_modules():
            if isinstance(module, nn.Linear):
                shapes[name.rpartition(".")[2]] = (module.in_features, module.out_features)
            elif type(module).__name__.endswith("Norm"):
                norms += [weight.numel() for weight in module.parameters(recurse=False)]
        return OfFolder(
            shapes=shapes, norms=tuple(norms), layer=sum(weight.numel() for weight in layers[0].parameters())
        ), config.to_dict()

    def random_config(self, **options: Any) -> Any:
        """Not known: this family has no architecture without a folder."""
        raise LwexpError(
            "model.init=random: model.family=hf takes its architecture from a folder with weights; set "
            "model.init=pretrained, or a family with sizes (model=tiny_llama)"
        )


class OfFolder(HuggingFace):
    """``HuggingFace`` with what one layer of a folder's architecture holds."""

    shapes: dict[str, tuple[int, int]]
    norms: tuple[int, ...]
    layer: int

    @property
    def fuses_gate_and_up(self) -> bool:
        return "gate_up_proj" in self.shapes

    def matrix_shapes(self, sizes: Sizes) -> dict[str, tuple[int, int]]:
        return {name: self.shapes[name] for name in self.matrices if name in self.shapes}

    def norm_widths(self, sizes: Sizes) -> tuple[int, ...]:
        return self.norms

    def layer_parameters(self, sizes: Sizes) -> int:
        return self.layer
