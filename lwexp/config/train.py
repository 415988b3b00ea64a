"""Schema of the training side: model, objective, hardware, tracking."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lwexp.config.base import Strict


class Shape(Strict):
    """Sizes of a randomly initialised model; null keeps the checkpoint's own value."""

    hidden_size: int | None = Field(ge=8)
    intermediate_size: int | None = Field(ge=8)
    num_hidden_layers: int | None = Field(ge=1)
    num_attention_heads: int | None = Field(ge=1)
    num_key_value_heads: int | None = Field(ge=1)
    head_dim: int | None = Field(ge=4)
    vocab_size: int | None = Field(ge=300)
    """Also the size of the BPE tokenizer when ``tokenizer`` is "train"."""
    max_position_embeddings: int | None = Field(ge=64)


class ModelConfig(Strict):
    """Which model is trained and how it speaks."""

    name: str
    """Short name; runs of a model are found by it."""
    family: Literal["glm", "llama"]
    """transformers' GlmForCausalLM or LlamaForCausalLM."""
    path: str | None
    """A hub id or a local folder in Hugging Face format; null only with init=random."""
    revision: str | None
    """Hub commit; null for local folders."""
    init: Literal["pretrained", "random"]
    chat: Literal["glm4", "llama31"]
    """Chat format, learned in SFT; saved with the tokenizer and read from there afterwards."""
    tokenizer: Literal["from_path", "train"]
    """train fits a small byte-level BPE on the run's own text."""
    shape: Shape
    initializer_range: float | None = Field(gt=0)
    """Standard deviation of random weights; null keeps the family's 0.02, which learns too slowly at small widths."""
    tie_word_embeddings: bool | None
    """Whether a random model shares input and output embeddings; null keeps the family's choice (no)."""

    @model_validator(mode="after")
    def pretrained_weights_need_a_path(self) -> ModelConfig:
        """Weights and tokenizers come from somewhere."""
        if self.path is None and (self.init == "pretrained" or self.tokenizer == "from_path"):
            raise ValueError(
                "model.path: is null, but init=pretrained and tokenizer=from_path need a hub id or folder; "
                "set model.path=<folder>, or model.init=random model.tokenizer=train"
            )
        return self


class Optimizer(Strict):
    """AdamW and its schedule."""

    lr: float = Field(gt=0, lt=1)
    betas: tuple[float, float]
    weight_decay: float = Field(ge=0)
    grad_clip: float = Field(gt=0)
    schedule: Literal["cosine", "constant"]
    """Both follow a linear warm-up."""
    warmup_ratio: float = Field(ge=0, lt=1)
    """Share of all steps."""


class SFT(Strict):
    """Supervised fine-tuning on packs."""

    kind: Literal["sft"]
    epochs: int = Field(ge=1)
    max_steps: int | None = Field(ge=1)
    """Stop after this many optimiser steps; null runs all epochs."""
    global_batch: int = Field(ge=1)
    """Packs per optimiser step, over all ranks and accumulation."""
    normalize: Literal["token", "sequence", "release"]
    """Loss is averaged over target tokens (the paper) or over conversations, both of the global batch;
    release is the published code's pack mean times n_sequences / release_divisor."""
    release_divisor: float = Field(gt=0)
    """The undocumented 30 of THUDM/LongWriter train/main.py:68 at 3fcfdff."""
    optimizer: Optimizer


class DPO(Strict):
    """Direct preference optimisation from a finished SFT run."""

    kind: Literal["dpo"]
    epochs: int = Field(ge=1)
    max_steps: int | None = Field(ge=1)
    global_batch: int = Field(ge=1)
    """Packs per optimiser step; both answers of a pair are always in one pack."""
    beta: float = Field(gt=0)
    nll_weight: float = Field(ge=0)
    """Adds this times the token-mean NLL of the chosen answers; it keeps their likelihood up."""
    optimizer: Optimizer


Objective = Annotated[SFT | DPO, Field(discriminator="kind")]


class CPU(Strict):
    """Plain Lightning on the CPU."""

    kind: Literal["cpu"]
    threads: int | None = Field(ge=1)
    """torch threads; null takes all cores this process may use."""


class GPU(Strict):
    """One CUDA device, everything resident."""

    kind: Literal["gpu"]
    precision: Literal["bf16-true", "32-true"]
    activation_checkpointing: bool


class Zero3(Strict):
    """DeepSpeed ZeRO stage 3 over all devices, through Lightning's DeepSpeedStrategy."""

    kind: Literal["zero3"]
    devices: int = Field(ge=1)
    num_nodes: int = Field(ge=1)
    precision: Literal["bf16-true"]
    activation_checkpointing: bool
    offload_optimizer: bool
    offload_parameters: bool
    device_gib: float = Field(gt=0)
    """Memory of one device, for the planner."""


Hardware = Annotated[CPU | GPU | Zero3, Field(discriminator="kind")]


class NoTracking(Strict):
    """Metrics stay in the run directory."""

    kind: Literal["none"]


class WandbTracking(Strict):
    """Weights & Biases as well; the local metrics file is always written."""

    kind: Literal["wandb"]
    mode: Literal["offline", "online"]
    """offline needs no account; upload later with ``wandb sync``."""
    entity: str | None
    project: str
    tags: tuple[str, ...]


Tracking = Annotated[NoTracking | WandbTracking, Field(discriminator="kind")]


class TrainingConfig(Strict):
    """Where training starts and how it is watched."""

    log_every_steps: int = Field(ge=1)
    checkpoint_every_steps: int | None = Field(ge=1)
    """null saves at the end only; a re-run resumes from the newest checkpoint."""
    inspect_batch: int | None = Field(ge=1)
    """Print this many packs, decoded, with targets and boundaries marked, and stop."""
