"""Sizes of a model, read without loading it: from the config, a config.json, or what is known of two hub ids."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from lwexp.config.train import ModelConfig
from lwexp.records import LwexpError


@dataclass(frozen=True)
class Sizes:
    """Dimensions of a decoder of the Glm or Llama architecture."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    qkv_bias: bool
    tied: bool = False
    """Whether input embedding and head are one weight."""
    adapter_parameters: int = 0
    """Parameters of a LoRA adapter, which are then all that is trained; 0 without one."""

    @property
    def query_width(self) -> int:
        """Width of all query heads."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_width(self) -> int:
        """Width of all key heads, and of all value heads."""
        return self.num_key_value_heads * self.head_dim

    @property
    def layer_parameters(self) -> int:
        """Parameters of one decoder layer."""
        queries, keys = self.query_width, self.key_width
        attention = self.hidden_size * (2 * queries + 2 * keys) + (queries + 2 * keys if self.qkv_bias else 0)
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the input embedding; the head has as many."""
        return self.vocab_size * self.hidden_size

    @property
    def base_parameters(self) -> int:
        """Parameters of the whole model, less an adapter's."""
        embeddings = self.embedding_parameters * (1 if self.tied else 2)
        return self.num_hidden_layers * self.layer_parameters + embeddings + self.hidden_size

    @property
    def parameters(self) -> int:
        """Parameters of the whole model, an adapter's included."""
        return self.base_parameters + self.adapter_parameters

    @property
    def trained_parameters(self) -> int:
        """Those that the optimiser sees."""
        return self.adapter_parameters or self.parameters

    @property
    def matmul_parameters(self) -> int:
        """Those that a token is multiplied with: all but the input embedding, which is looked up."""
        return self.parameters - (0 if self.tied else self.embedding_parameters)


# The models of the paper, so that planning needs neither weights nor the hub.
# Source: config.json of the two repositories.
KNOWN = {
    "zai-org/glm-4-9b-hf": Sizes(4096, 13696, 40, 32, 2, 128, 151_552, 131_072, qkv_bias=True),
    "meta-llama/Llama-3.1-8B": Sizes(4096, 14336, 32, 32, 8, 128, 128_256, 131_072, qkv_bias=False),
}


def model_sizes(model: ModelConfig, weights: Path | None = None) -> Sizes:
    """Sizes of the model that a config asks for.

    Args:
        model: The config. With init=random, the sizes it sets replace those of its path.
        weights: Folder to start from instead of ``model.path``.

    Raises:
        LwexpError: If some size is neither set nor to be found.
    """
    chosen: dict[str, Any] = {name: size for name, size in model.shape.model_dump().items() if size is not None}
    if model.init == "random" and model.tie_word_embeddings is not None:
        chosen["tied"] = model.tie_word_embeddings
    if weights is not None or model.init == "pretrained":
        chosen = {}
    base = _base_sizes(model, weights)
    if base is not None:
        return _with_adapter(replace(base, **chosen), model)
    missing = [name for name in type(model.shape).model_fields if name not in chosen]
    if missing:
        raise LwexpError(
            f"model={model.name}: the size of {weights or model.path or 'the model'} is not known here; set "
            + " ".join(f"model.shape.{name}=<int>" for name in missing)
            + " (or model.path to a folder with a config.json)"
        )
    return _with_adapter(Sizes(**chosen, qkv_bias=model.family == "glm"), model)


def _with_adapter(sizes: Sizes, model: ModelConfig) -> Sizes:
    """The sizes with the parameters that ``model.adapter`` adds: r * (in + out) for each adapted matrix."""
    if model.adapter == "none":
        return sizes
    h, i, q, k = sizes.hidden_size, sizes.intermediate_size, sizes.query_width, sizes.key_width
    ends = {
        "q_proj": h + q, "k_proj": h + k, "v_proj": h + k, "o_proj": q + h,
        "gate_up_proj": h + 2 * i, "gate_proj": h + i, "up_proj": h + i, "down_proj": i + h,
    }  # fmt: skip
    adapted = sum(ends[name] for name in model.lora_targets)
    return replace(sizes, adapter_parameters=sizes.num_hidden_layers * model.lora.r * adapted)


def _base_sizes(model: ModelConfig, weights: Path | None) -> Sizes | None:
    file = find_config(str(weights) if weights else model.path, None if weights else model.revision)
    if file is not None:
        return _from_json(json.loads(file.read_text(encoding="utf-8")))
    return KNOWN.get(model.path or "")


def find_config(path: str | None, revision: str | None) -> Path | None:
    """config.json of a local folder or of a hub id in the local cache; None if it is in neither."""
    if path is None:
        return None
    if (Path(path) / "config.json").is_file():
        return Path(path) / "config.json"
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(path, "config.json", revision=revision)
    except HFValidationError:  # not of the form owner/name: a folder that does not exist
        return None
    return Path(cached) if isinstance(cached, str) else None


def _from_json(content: dict[str, Any]) -> Sizes:
    """Sizes from a transformers config.json, whose head sizes may be left to their defaults."""
    needed = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    if missing := [name for name in needed if name not in content]:
        raise LwexpError(
            f"config.json of type {content.get('model_type')!r} lacks {', '.join(missing)}; use a model in the layout "
            f"of transformers' Glm or Llama (GLM-4-9B: zai-org/glm-4-9b-hf)"
        )
    heads = content["num_attention_heads"]
    content = {
        "num_key_value_heads": heads,
        "head_dim": content["hidden_size"] // heads,
        "max_position_embeddings": 2048,
        **{key: value for key, value in content.items() if value is not None},
        "qkv_bias": bool(content.get("attention_bias", content.get("model_type") == "glm")),
        "tied": bool(content.get("tie_word_embeddings", False)),
    }
    return Sizes(**{field.name: content[field.name] for field in fields(Sizes) if field.name in content})
