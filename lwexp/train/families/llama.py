"""Llama 3.1."""

from typing import Any, ClassVar, Literal

from lwexp.extend import Licence, ModelFamily, Published, Sizes, register


@register
class Llama(ModelFamily):
    """transformers' LlamaForCausalLM."""

    kind: Literal["llama"] = "llama"

    config_class: ClassVar = "LlamaConfig"
    default_chat: ClassVar = "llama31"
    config_options: ClassVar = {"rms_norm_eps": 1e-5}

    def published(self) -> dict[str, Published]:
        """Source: config.json and model card of the repository."""
        sizes = Sizes(4096, 14336, 32, 32, 8, 128, 128_256, 131_072, family=self)
        return {"meta-llama/Llama-3.1-8B": Published(sizes, Licence("llama3.1"))}

    def rope(self, positions: int) -> dict[str, Any]:
        """For long contexts, Llama 3.1's theta of 500,000 and its scaling rule; contexts up to 8,192 need neither."""
        if positions <= 8192:
            return {"rope_type": "default", "rope_theta": 10_000.0}
        return {
            "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        }  # fmt: skip
