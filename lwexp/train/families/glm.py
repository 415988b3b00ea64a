"""GLM-4: it has biases on queries, keys and values, and one matrix for the gate and up projections."""

from typing import ClassVar, Literal

from lwexp.extend import Licence, ModelFamily, Published, Sizes, register


@register
class Glm(ModelFamily):
    """transformers' GlmForCausalLM."""

    kind: Literal["glm"] = "glm"

    config_class: ClassVar = "GlmConfig"
    default_chat: ClassVar = "glm4"
    matrices: ClassVar = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj")
    attention_bias: ClassVar = True
    unreadable: ClassVar = {
        "chatglm": "GLM-4 in its older layout with remote code, which is never run here; set "
        "model.path=zai-org/glm-4-9b-hf or a folder of it"
    }

    def published(self) -> dict[str, Published]:
        """Source: config.json and model card of the repository, which could not be reached when this was written. The
        8,192 positions are from THUDM/LongWriter train/README.md at 0c2e460, FAQ 3, on this model's older layout.
        """
        sizes = Sizes(4096, 13696, 40, 32, 2, 128, 151_552, 8192, family=self, attention_bias=True)
        licence = Licence("other", "glm-4", "https://huggingface.co/zai-org/glm-4-9b-hf/blob/main/LICENSE")
        return {"zai-org/glm-4-9b-hf": Published(sizes, licence)}

    def biases(self, sizes: Sizes) -> int:
        """Biases of one layer: queries, keys and values have them, the output projection has none."""
        return sizes.query_width + 2 * sizes.key_width
