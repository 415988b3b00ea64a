"""Qwen3: Llama's layer with an RMSNorm over each head's queries and keys, and heads of a width of their own."""

from typing import Any, ClassVar, Literal

from lwexp.extend import Licence, ModelFamily, Published, Sizes, register


@register
class Qwen3(ModelFamily):
    """transformers' Qwen3ForCausalLM."""

    kind: Literal["qwen3"] = "qwen3"

    config_class: ClassVar = "Qwen3Config"
    default_chat: ClassVar = "chatml"

    def norm_widths(self, sizes: Sizes) -> tuple[int, ...]:
        """One norm over each query head and one over each key head, besides the layer's two."""
        return (*super().norm_widths(sizes), sizes.head_dim, sizes.head_dim)

    def rope(self, positions: int) -> dict[str, Any]:
        """Qwen3's theta, from 8,192 positions on; miniatures keep the usual one."""
        return {"rope_type": "default", "rope_theta": 10_000.0 if positions < 8192 else 1_000_000.0}

    def published(self) -> dict[str, Published]:
        """Source: config.json and model card of the repository."""
        sizes = Sizes(4096, 12288, 36, 32, 8, 128, 151_936, 40_960, family=self)
        return {"Qwen/Qwen3-8B": Published(sizes, Licence("apache-2.0"))}
