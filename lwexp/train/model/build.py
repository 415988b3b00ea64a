"""Models: transformers' own Glm and Llama classes, loaded or randomly initialised, ready for packed training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from lwexp.config.train import Hardware, ModelConfig
from lwexp.records import LwexpError
from lwexp.train.model import attention, kernels
from lwexp.train.model.adapter import add_adapter
from lwexp.train.model.attention import register_attention
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.model.logprobs import install_head

ModelBuilder = Callable[[], nn.Module]
"""Makes the model when it is called. Lightning calls it late, inside the strategy's own context, so that ZeRO-3
can shard each weight as it is made."""


def training_dtype(hardware: Hardware) -> torch.dtype:
    """What the weights are kept in."""
    return torch.bfloat16 if hardware.number_bytes == 2 else torch.float32


def training_device(hardware: Hardware) -> torch.device:
    """Where this rank computes."""
    return torch.device(hardware.device)


def build_model(
    config: ModelConfig,
    tokenizer: Any,
    *,
    seed: int,
    dtype: torch.dtype,
    weights: Path | None = None,
    attend: attention.Choice = "auto",
    fuse: kernels.Choice = "eager",
) -> nn.Module:
    """A causal language model with packed attention and a ``TargetHead``, in training mode.

    Args:
        config: Which model.
        tokenizer: Its special tokens and its size go into the model's config.
        seed: Of the random initialisation; the same seed gives the same weights.
        dtype: Of the weights; the rotary frequencies stay in float32.
        weights: Folder to load instead of ``config.path`` (DPO starts from an SFT run's model).
        attend: Path of packed attention.
        fuse: Kernels for RMSNorm and SwiGLU.

    Raises:
        LwexpError: If the weights are of another architecture or too small for the tokenizer.
    """
    source = str(weights) if weights is not None else config.path
    if weights is None and config.init == "random":
        torch.manual_seed(seed)
        model = _random(config, tokenizer, dtype, register_attention(attend))
    else:
        assert source is not None
        revision = None if weights is not None else config.revision
        model = _pretrained(source, revision, config, dtype, register_attention(attend))
    if (rows := model.config.vocab_size) < len(tokenizer):
        raise LwexpError(
            f"model={config.name}: the tokenizer has {len(tokenizer):,} entries, the model's embedding {rows:,} rows; "
            f"set model.shape.vocab_size>={len(tokenizer)} with init=random, or choose the tokenizer that belongs to it"
        )
    install_head(model)
    kernels.install_kernels(model, fuse, model_sizes(config, weights))
    add_adapter(model, config, seed)
    keep_rotary_exact(model)
    return cast(nn.Module, model.train())


def _random(config: ModelConfig, tokenizer: Any, dtype: torch.dtype, attention_name: str) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(
        random_config(config, tokenizer),
        dtype=dtype,
        attn_implementation=attention_name,
        trust_remote_code=False,
    )


def random_config(config: ModelConfig, tokenizer: Any) -> Any:
    """transformers' config for random weights: the sizes asked for, everything else as the family has it."""
    sizes = model_sizes(config)
    options = {name: getattr(sizes, name) for name in type(config.shape).model_fields}
    options |= {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    for name in ("initializer_range", "tie_word_embeddings"):
        if (value := getattr(config, name)) is not None:
            options[name] = value
    return config.family.random_config(**options)


def _pretrained(source: str, revision: str | None, config: ModelConfig, dtype: torch.dtype, attention_name: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        found = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise LwexpError(f"model={config.name}: cannot read the model at {source}: {_first_line(error)}") from None
    if found.model_type != config.family.kind:
        raise LwexpError(
            f"model={config.name}: {source} is of architecture {found.model_type!r}, but "
            f"model.family={config.family.kind}; choose a model of that family "
            f"(GLM-4-9B is zai-org/glm-4-9b-hf, not the older remote-code layout)"
        )
    try:
        return AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            attn_implementation=attention_name,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise LwexpError(f"model={config.name}: cannot load weights from {source}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def keep_rotary_exact(model: nn.Module) -> None:
    """Let casts of the model leave the rotary frequencies in float32.

    ``module.to(bfloat16)``, which DeepSpeed calls, would round them to 8 bits: at position 32,767 the worst angle
    is then off by 14 radians in GLM-4 and by 59 in Llama-3.1.
    """
    for module in rotaries(model):
        module.__class__ = _with_exact_buffers(type(module))  # keeps its place in the model


def restore_rotary(model: nn.Module) -> None:
    """Compute the rotary frequencies again, in float32.

    Needed where the model was made in bf16 from the start: DeepSpeed's ``zero.Init`` rounds every floating-point
    tensor at birth, constants too. Call it outside of that context.
    """
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    for module in rotaries(model):
        rotary: Any = module
        kind = rotary.rope_type
        compute = rotary.compute_default_rope_parameters if kind == "default" else ROPE_INIT_FUNCTIONS[kind]
        exact, rotary.attention_scaling = compute(rotary.config)
        assert exact.dtype == torch.float32, exact.dtype
        rotary.inv_freq = exact.to(rotary.inv_freq.device)
        rotary.original_inv_freq = rotary.inv_freq.clone()


def rotaries(model: nn.Module) -> list[nn.Module]:
    """The modules that hold rotary frequencies."""
    return [module for module in model.modules() if isinstance(getattr(module, "inv_freq", None), Tensor)]


def _with_exact_buffers(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass of ``kind`` whose buffers follow the model to a device, but not to a number format."""

    class Exact(kind):  # type: ignore[valid-type, misc]
        def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
            exact = dict(self._buffers)
            super()._apply(fn, recurse)
            for name, buffer in exact.items():
                self._buffers[name] = buffer.to(self._buffers[name].device)
            return self

    Exact.__name__ = kind.__name__
    return Exact
