"""Model families: everything that differs between decoder architectures, in one class each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from lwexp.extend.registry import Registry
from lwexp.extend.settings import Strict


class Licence(NamedTuple):
    """A licence, as the hub names it."""

    id: str
    name: str | None = None
    link: str | None = None


class Published(NamedTuple):
    """A published model, so that planning needs neither its weights nor the hub."""

    sizes: Sizes
    licence: Licence


class ModelFamily(Strict):
    """One decoder architecture of transformers. The base describes Llama's layer; a family overrides what differs.

    Example:
        A class with ``kind: Literal["qwen3"] = "qwen3"`` and ``config_class = "Qwen3Config"`` (examples/qwen3).
    """

    kind: str = ""
    """Name in YAML, and ``model_type`` in a config.json."""

    config_class: ClassVar[str]
    """Name of the config class in transformers."""
    default_chat: ClassVar[str]
    """Chat format of a config that names none."""
    config_options: ClassVar[Mapping[str, Any]] = {}
    """Further arguments of the config class for random weights."""
    matrices: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """Weight matrices of a layer, which LoRA may adapt. With ``gate_up_proj`` the MLP has gate and up in one."""
    attention_bias: ClassVar[bool] = False
    """Whether attention has biases if a config.json does not say so."""
    unreadable: ClassVar[Mapping[str, str]] = {}
    """``model_type`` values that look like this family but cannot be loaded -> what they are and what to do."""

    is_read_from_folder: ClassVar[bool] = False
    """Whether a folder of any type belongs to the family, with the layers that its config.json describes. A self-check
    admits it, and ``hardware.kernels`` leaves its layers alone."""

    def takes(self, model_type: str | None) -> bool:
        """Whether a config.json of this ``model_type`` belongs to the family."""
        return model_type == self.kind or (self.is_read_from_folder and model_type is not None)

    @property
    def fuses_gate_and_up(self) -> bool:
        """Whether gate and up projection are one matrix, the gate's rows first."""
        return "gate_up_proj" in self.matrices

    def published(self) -> dict[str, Published]:
        """Known models by hub id."""
        return {}

    def matrix_shapes(self, sizes: Sizes) -> dict[str, tuple[int, int]]:
        """Input and output width of each of ``matrices``."""
        h, i, q, k = sizes.hidden_size, sizes.intermediate_size, sizes.query_width, sizes.key_width
        known = {
            "q_proj": (h, q), "k_proj": (h, k), "v_proj": (h, k), "o_proj": (q, h),
            "gate_proj": (h, i), "up_proj": (h, i), "gate_up_proj": (h, 2 * i), "down_proj": (i, h),
        }  # fmt: skip
        return {name: known[name] for name in self.matrices}

    def norm_widths(self, sizes: Sizes) -> tuple[int, ...]:
        """Width of each RMSNorm of a layer."""
        return (sizes.hidden_size, sizes.hidden_size)

    def biases(self, sizes: Sizes) -> int:
        """Parameters of a layer's attention biases, if any."""
        return sizes.query_width + 2 * sizes.key_width + sizes.hidden_size

    def layer_parameters(self, sizes: Sizes) -> int:
        """Parameters of one layer."""
        matrices = sum(rows * columns for rows, columns in self.matrix_shapes(sizes).values())
        return matrices + sum(self.norm_widths(sizes)) + (self.biases(sizes) if sizes.attention_bias else 0)

    def rope(self, positions: int) -> dict[str, Any] | None:
        """``rope_parameters`` of a random model with this many positions; None keeps the config class's default."""
        return None

    def random_config(self, **options: Any) -> Any:
        """transformers' config of a model with random weights.

        Args:
            options: Sizes, special tokens and what ``model`` sets; they go to ``config_class``.
        """
        import transformers

        rope = self.rope(options["max_position_embeddings"])
        more = {"rope_parameters": rope} if rope else {}
        return getattr(transformers, self.config_class)(**options, **self.config_options, **more)


@dataclass(frozen=True)
class Sizes:
    """Dimensions of a decoder, and quantities derived from them."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    family: ModelFamily = field(kw_only=True)
    attention_bias: bool = field(default=False, kw_only=True)
    tied: bool = field(default=False, kw_only=True)
    """Whether input embedding and head are one weight."""
    adapter_parameters: int = field(default=0, kw_only=True)
    """Parameters of a LoRA adapter, which are then the only trained ones; 0 without one."""
    is_quantized: bool = field(default=False, kw_only=True)
    """Whether the matrices of the layers are kept in 4 bits."""

    @property
    def query_width(self) -> int:
        """Width of all query heads."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all key heads, and of all value heads."""
        return self.num_key_value_heads * self.head_dim

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding; the head has as many."""
        return self.vocab_size * self.hidden_size

    @property
    def base_parameters(self) -> int:
        """Parameters of the whole model without an adapter's."""
        embeddings = self.embedding_parameters * (1 if self.tied else 2)
        return self.num_hidden_layers * self.family.layer_parameters(self) + embeddings + self.hidden_size

    @property
    def parameters(self) -> int:
        """Parameters of the whole model including an adapter's."""
        return self.base_parameters + self.adapter_parameters

    @property
    def quantized_parameters(self) -> int:
        """Parameters that are kept in 4 bits: none, or all matrices of the layers."""
        matrices = sum(rows * columns for rows, columns in self.family.matrix_shapes(self).values())
        return self.num_hidden_layers * matrices if self.is_quantized else 0

    @property
    def trained_parameters(self) -> int:
        """Parameters that are trained."""
        return self.adapter_parameters or self.parameters

    @property
    def matmul_parameters(self) -> int:
        """Parameters in matrix products: all except the input embedding, which is a look-up."""
        return self.parameters - (0 if self.tied else self.embedding_parameters)


FAMILIES: Registry[ModelFamily] = Registry("model family", ModelFamily, ("lwexp.train.families",))
