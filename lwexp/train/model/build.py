"""Models: transformers' own classes, loaded or randomly initialised, prepared for packed training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from lwexp.config.train import Attention, Hardware, LayerKernels, ModelConfig
from lwexp.pack.model_weights import load_weights
from lwexp.records import LwexpError
from lwexp.text.plain import first_line
from lwexp.train.model.adapter import add_adapter
from lwexp.train.model.attention import register_attention
from lwexp.train.model.context import set_context
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.kernels import install_kernels
from lwexp.train.model.logprobs import install_head
from lwexp.train.model.quantized import quantize_matrices

ModelBuilder = Callable[[], nn.Module]
"""Builds the model when called. Lightning calls it inside the strategy's context, so that ZeRO-3 can shard each weight
as soon as it is created."""


def training_dtype(hardware: Hardware) -> torch.dtype:
    """Number format of the weights."""
    return torch.bfloat16 if hardware.number_bytes == 2 else torch.float32


def build_model(
    config: ModelConfig,
    tokenizer: Any,
    *,
    seed: int,
    dtype: torch.dtype,
    weights: Path | None = None,
    attend: Attention = "auto",
    fuse: LayerKernels = "eager",
    device: str = "cpu",
) -> nn.Module:
    """A causal language model with packed attention and a ``TargetHead``, in training mode.

    Args:
        config: Which model to build.
        tokenizer: Its size is checked against the embedding; a random model's config also gets its special tokens.
        seed: Seed of the random initialisation; the same seed gives the same weights.
        dtype: Number format of the weights. Rotary frequencies are always float32; a later cast of the model rounds
            them, and then ``restore_rotary`` is needed.
        weights: Folder to load instead of ``config.path`` (DPO starts from an SFT run's model).
        attend: Path of packed attention.
        fuse: Kernels for RMSNorm and SwiGLU.
        device: Where weights in 4 bits are made and stay; the others are on the CPU.

    Raises:
        LwexpError: If the weights have another architecture, or the embedding is too small for the tokenizer.
    """
    options = {"dtype": dtype, "attn_implementation": register_attention(attend)}
    if weights is None and config.init == "random":
        from transformers import AutoModelForCausalLM

        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(random_config(config, tokenizer), trust_remote_code=False, **options)
    else:
        model = _pretrained(config, weights, options)
    if (rows := model.config.vocab_size) < len(tokenizer):
        raise LwexpError(
            f"model={config.name}: the tokenizer has {len(tokenizer):,} entries, the model's embedding {rows:,} rows; "
            f"set model.shape.vocab_size>={len(tokenizer)} with init=random, or choose the tokenizer that belongs to it"
        )
    install_head(model)
    install_kernels(model, fuse, model_sizes(config, weights))
    quantize_matrices(model, config, device)
    add_adapter(model, config, seed)
    return cast(nn.Module, model.train())


def random_config(config: ModelConfig, tokenizer: Any) -> Any:
    """The transformers config for random weights: the sizes that the config asks for, and the family's defaults."""
    sizes = model_sizes(config)
    options = {name: getattr(sizes, name) for name in type(config.shape).model_fields}
    options |= {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    for name in ("initializer_range", "tie_word_embeddings"):
        if (value := getattr(config, name)) is not None:
            options[name] = value
    made = config.family.random_config(**options)
    set_context(made, config)
    return made


def _pretrained(config: ModelConfig, weights: Path | None, options: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    source, revision = (config.path, config.revision) if weights is None else (str(weights), None)
    assert source is not None
    try:
        found = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise LwexpError(f"model={config.name}: cannot read the model at {source}: {first_line(error)}") from None
    if not config.family.takes(found.model_type):
        raise LwexpError(
            f"model={config.name}: {source} is of architecture {found.model_type!r}, but "
            f"model.family={config.family.kind}; choose a model of that family "
            f"(GLM-4-9B is zai-org/glm-4-9b-hf, not the older remote-code layout)"
        )
    set_context(found, config)
    try:
        return load_weights(source, config=found, revision=revision, **options)
    except LwexpError as error:
        raise LwexpError(f"model={config.name}: {error}") from None


def restore_rotary(model: nn.Module) -> None:
    """Compute the rotary frequencies again, in float32.

    This is needed after a cast: DeepSpeed casts the whole model, and its ``zero.Init`` rounds every floating-point
    tensor on creation, constants included. In bf16, with 8 bits of precision, the worst angle at position 32,767 is off
    by 14 radians in GLM-4 and by 59 in Llama-3.1. Call this function outside ``zero.Init``.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    for module in rotaries(model):
        rotary: Any = module
        # Gemma 3 has one set of frequencies for each type of layer.
        types: list[str | None] = [
            name.removesuffix("_inv_freq") for name in _frequencies(module) if name != "inv_freq"
        ]
        for layer_type in types or [None]:
            kind, more = rotary.rope_type, {}
            if layer_type is not None:
                kind, more = kind[layer_type], {"layer_type": layer_type}
            compute = rotary.compute_default_rope_parameters if kind == "default" else ROPE_INIT_FUNCTIONS[kind]
            exact, factor = compute(rotary.config, **more)
            assert exact.dtype == torch.float32, exact.dtype
            prefix = f"{layer_type}_" if layer_type else ""
            exact = exact.to(getattr(rotary, f"{prefix}inv_freq").device)
            setattr(rotary, f"{prefix}attention_scaling", factor)
            setattr(rotary, f"{prefix}inv_freq", exact)
            setattr(rotary, f"{prefix}original_inv_freq", exact.clone())


def rotaries(model: nn.Module) -> list[nn.Module]:
    """The modules that hold rotary frequencies."""
    return [module for module in model.modules() if _frequencies(module)]


def _frequencies(module: nn.Module) -> list[str]:
    """Names of a module's rotary frequencies."""
    names = [name for name, _ in module.named_buffers(recurse=False)]
    return [name for name in names if name.endswith("inv_freq") and not name.endswith("original_inv_freq")]
