"""Any decoder that transformers can build: its layout is read from the folder's config.json, not written down here."""

from typing import Any, ClassVar, Literal

from lwexp.extend import ModelFamily, register
from lwexp.records import LwexpError


@register
class HuggingFace(ModelFamily):
    """The architecture that ``model.path`` names. ``lwexp.train.model.admission`` checks it before a run starts."""

    kind: Literal["hf"] = "hf"

    default_chat: ClassVar = "chatml"
    matrices: ClassVar = (
        "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj", "down_proj",
    )  # fmt: skip
    """Names that architectures use; each has some of them."""
    is_read_from_folder: ClassVar = True

    def random_config(self, **options: Any) -> Any:
        """Not known: this family has no architecture without a folder."""
        raise LwexpError(
            "model.init=random: model.family=hf takes its architecture from a folder with weights; set "
            "model.init=pretrained, or a family with sizes (model=tiny_llama)"
        )
