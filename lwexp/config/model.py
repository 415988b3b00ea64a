"""Schema of the model: which one, from where, of what size, and what of it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lwexp.extend import CHAT_FORMATS, FAMILIES, ChatFormat, Key, ModelFamily, OneOf, Strict


class Shape(Strict):
    """Sizes of a randomly initialised model; null keeps the checkpoint's own value."""

    hidden_size: int | None = Field(None, ge=8)
    """Width of the residual stream."""
    intermediate_size: int | None = Field(None, ge=8)
    """Width of the MLP."""
    num_hidden_layers: int | None = Field(None, ge=1)
    """Layers."""
    num_attention_heads: int | None = Field(None, ge=1)
    """Query heads of each layer."""
    num_key_value_heads: int | None = Field(None, ge=1)
    """Key and value heads of each layer."""
    head_dim: int | None = Field(None, ge=4)
    """Width of one head."""
    vocab_size: int | None = Field(None, ge=300)
    """Also the size of the BPE tokenizer when ``tokenizer`` is "train"."""
    max_position_embeddings: int | None = Field(None, ge=64)
    """Longest sequence, in tokens."""


class RopeScaling(Strict):
    """Stretches rotary frequencies over a longer context, as transformers' ``rope_parameters`` do."""

    kind: Literal["linear", "yarn"]
    """linear divides all frequencies by ``factor``; yarn (arXiv 2309.00071) divides low ones and keeps high ones."""
    factor: float = Field(gt=1)
    """New context over the context that the model was trained with."""


class Lora(Strict):
    """A low-rank adapter, trained in place of the whole model where ``model.adapter`` is lora."""

    r: int = Field(16, ge=1)
    """Rank: each adapted matrix gets r * (in + out) trained weights."""
    alpha: float = Field(32.0, gt=0)
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the adapter's input during training."""
    targets: tuple[str, ...] | None = None
    """Adapted matrices; null takes all of the family's decoder layers (GLM: gate_up_proj is one matrix)."""


class ModelConfig(Strict):
    """Which model is trained and how it speaks."""

    name: str
    """Short name; runs of a model are found by it."""
    family: Annotated[ModelFamily, OneOf(FAMILIES, by_name=True)]
    """Architecture: glm, llama, hf for what the folder says (docs/models.md), or a plugin's (docs/extend.md)."""
    path: str | None = None
    """A hub id or a local folder in Hugging Face format; null only with init=random."""
    revision: str | None = None
    """Hub commit; null for local folders."""
    init: Literal["pretrained", "random"] = "pretrained"
    """Start from the weights at path, or from random ones."""
    chat: Annotated[ChatFormat | None, OneOf(CHAT_FORMATS, by_name=True)] = None
    """Chat format, learned in SFT: a base model's own, the [INST] form of the released LongWriter-Llama, ChatML, or
    own for the tokenizer's own template; saved with the tokenizer and read from there afterwards. null takes the
    family's."""
    tokenizer: Literal["from_path", "train"] = "from_path"
    """train fits a small byte-level BPE on the run's own text."""
    shape: Shape = Field(default_factory=Shape)
    context_length: Annotated[int | None, Key("speed", neutral=None)] = Field(None, ge=64)
    """Positions of the model, which bound pack.max_tokens and are written to the exported config.json; null keeps the
    model's own. No weight changes: rotary frequencies are the same for every length unless rope_scaling is set."""
    rope_theta: Annotated[float | None, Key(neutral=None)] = Field(None, gt=0)
    """Base of the rotary frequencies; null keeps the model's own."""
    rope_scaling: Annotated[RopeScaling | None, Key(neutral=None)] = None
    """null keeps the model's own."""
    initializer_range: float | None = Field(None, gt=0)
    """Standard deviation of random weights; null keeps the family's 0.02, which learns too slowly at small widths."""
    tie_word_embeddings: bool | None = None
    """Whether a random model shares input and output embeddings; null keeps the family's choice (no)."""
    adapter: Literal["none", "lora"] = "none"
    """lora trains a low-rank adapter through peft and exports it merged; none trains all weights."""
    lora: Lora = Field(default_factory=Lora)
    quantize: Annotated[Literal["none", "nf4"], Key(neutral="none")] = "none"
    """nf4 keeps the matrices of the layers, which an adapter leaves frozen, in 4 bits (QLoRA, arXiv 2305.14314), by
    bitsandbytes and in one process; embeddings, head, norms and the adapter keep the hardware's precision. The export
    merges the adapter into the model's own weights, not into the rounded ones."""

    @property
    def chat_format(self) -> str:
        """Name of the chat format."""
        return self.chat.kind if self.chat else self.family.default_chat

    @property
    def chat_settings(self) -> ChatFormat | str:
        """The chat format with its settings, or its name."""
        return self.chat or self.family.default_chat

    @property
    def is_own_template(self) -> bool:
        """Whether the chat format is the template that comes with the tokenizer."""
        return self.chat_format in CHAT_FORMATS and CHAT_FORMATS[self.chat_format].is_own

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """Names of the adapted matrices."""
        return self.lora.targets or self.family.matrices

    def unquantized(self) -> ModelConfig:
        """The same model with all weights in the hardware's precision."""
        return self.model_copy(update={"quantize": "none"})

    @model_validator(mode="after")
    def adapted_matrices_exist(self) -> ModelConfig:
        """LoRA targets must be matrices of the family."""
        known = self.family.matrices
        if strangers := [name for name in self.lora_targets if name not in known]:
            raise ValueError(
                f"model.lora.targets: {self.family.kind} has no {', '.join(strangers)}; choose from {', '.join(known)}"
            )
        return self

    @model_validator(mode="after")
    def only_frozen_weights_are_quantized(self) -> ModelConfig:
        """Weights in 4 bits cannot be trained."""
        if self.quantize != "none" and self.adapter == "none":
            raise ValueError(
                f"model.quantize: {self.quantize} is for frozen weights, and model.adapter=none trains all of them; "
                f"set model.adapter=lora, or model.quantize=none"
            )
        return self

    @model_validator(mode="after")
    def scaling_is_for_a_longer_context(self) -> ModelConfig:
        """RoPE scaling needs the new number of positions."""
        if self.rope_scaling is not None and self.context_length is None:
            raise ValueError(
                "model.rope_scaling: stretches frequencies over a longer context, and model.context_length is null; "
                "set model.context_length=<tokens>"
            )
        return self

    @model_validator(mode="after")
    def an_own_template_needs_a_tokenizer(self) -> ModelConfig:
        """A tokenizer that is fitted to the run's text brings no template."""
        if self.is_own_template and self.tokenizer == "train":
            raise ValueError(
                "model.chat: own is the template that comes with a tokenizer, and model.tokenizer=train fits one "
                "without; set model.tokenizer=from_path or another model.chat"
            )
        return self

    @model_validator(mode="after")
    def pretrained_weights_need_a_path(self) -> ModelConfig:
        """Pretrained weights and an existing tokenizer need a path to load from."""
        if self.path is None and (self.init == "pretrained" or self.tokenizer == "from_path"):
            raise ValueError(
                "model.path: is null, but init=pretrained and tokenizer=from_path need a hub id or folder; "
                "set model.path=<folder>, or model.init=random model.tokenizer=train"
            )
        return self
