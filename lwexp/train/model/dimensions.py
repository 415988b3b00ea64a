"""Sizes of a model, read without loading it: from the config, a config.json, or tables of published models."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lwexp.config.folders import CONF, read_choice
from lwexp.config.train import ModelConfig
from lwexp.extend import FAMILIES, ModelFamily, Published, Sizes
from lwexp.records import LwexpError, parse_json
from lwexp.text.plain import first_line
from lwexp.train.model.folder_layout import folder_layers, read_config
from lwexp.train.model.hub_models import hub_model

SHARD_BYTES = 5_000_000_000
"""Largest weights file of an export; transformers 5 would write one of up to 50 GB. As much is merged at a time."""
QUANTIZED_BLOCK = 64
"""Weights that share a scale. bitsandbytes 0.50.2 on a CPU dequantises a matrix wrongly if its rows do not end with a
block: the error is 2.4 to 3.5 times that of correct rounding."""


def published_models() -> dict[str, Published]:
    """Sizes and licence of each hub id that a registered family lists."""
    return {path: model for _, family in FAMILIES.items() for path, model in family().published().items()}


def model_sizes(model: ModelConfig, weights: Path | None = None) -> Sizes:
    """Sizes of the model that a config asks for.

    Args:
        model: The config. With init=random, the sizes that it sets replace those of ``model.path``.
        weights: Folder to start from instead of ``model.path``.

    Raises:
        LwexpError: If a size is neither set nor found.
    """
    chosen: dict[str, Any] = {name: size for name, size in model.shape.model_dump().items() if size is not None}
    if model.init == "random" and model.tie_word_embeddings is not None:
        chosen["tied"] = model.tie_word_embeddings
    if weights is not None or model.init == "pretrained":
        chosen = {}
    base = _base_sizes(model, weights)
    if base is not None:
        return with_adapter(replace(base, **chosen), model)
    if model.family.is_read_from_folder:
        raise LwexpError(f"model.path={model.path}: no config.json here; download it first: hf download {model.path}")
    missing = [name for name in type(model.shape).model_fields if name not in chosen]
    if missing:
        raise LwexpError(
            f"model={model.name}: the size of {weights or model.path or 'the model'} is not known here; set "
            + " ".join(f"model.shape.{name}=<int>" for name in missing)
            + " (or model.path to a folder with a config.json)"
        )
    return with_adapter(Sizes(**chosen, family=model.family, attention_bias=model.family.attention_bias), model)


def with_adapter(sizes: Sizes, model: ModelConfig) -> Sizes:
    """The sizes with what ``model.adapter`` adds, r * (in + out) for each adapted matrix, and ``model.quantize``."""
    if model.adapter == "none":
        return sizes
    shapes = sizes.family.matrix_shapes(sizes)
    if strangers := [name for name in model.lora.targets or () if name not in shapes]:
        raise LwexpError(
            f"model.lora.targets: {model.path or model.name} has no {', '.join(strangers)}; choose from "
            f"{', '.join(shapes)}"
        )
    if model.quantize != "none" and (odd := odd_matrices(sizes)):
        raise LwexpError(
            f"model.quantize: bitsandbytes on a CPU computes matrices wrongly unless their inputs are a multiple of "
            f"{QUANTIZED_BLOCK} wide, which those of {', '.join(odd)} are not; set model.quantize=none"
        )
    adapted = sum(sum(shapes[name]) for name in model.lora_targets if name in shapes)
    added = sizes.num_hidden_layers * model.lora.r * adapted
    return replace(sizes, adapter_parameters=added, is_quantized=model.quantize != "none")


def odd_matrices(sizes: Sizes) -> list[str]:
    """The matrices that cannot be put into 4 bits, because their inputs do not end with a block."""
    return [name for name, (width, _) in sizes.family.matrix_shapes(sizes).items() if width % QUANTIZED_BLOCK]


def _base_sizes(model: ModelConfig, weights: Path | None) -> Sizes | None:
    file = find_config(str(weights) if weights else model.path, None if weights else model.revision)
    if file is not None:
        return _from_json(_read_config(file), model.family)
    return _published_sizes(model.path, model.family)


def _published_sizes(path: str | None, family: ModelFamily) -> Sizes | None:
    if (known := published_models().get(path or "")) is not None:
        return known.sizes if family.is_read_from_folder else replace(known.sizes, family=family)
    entry = hub_model(path)
    return None if entry is None else _from_json(dict(entry.config), family)


def config_json(path: str | None, revision: str | None) -> dict[str, Any] | None:
    """A model's config.json: from its folder or the local cache, else from the table of published models."""
    file = find_config(path, revision)
    if file is not None:
        return _read_config(file)
    known = hub_model(path)
    return dict(known.config) if known else None


def _read_config(file: Path) -> dict[str, Any]:
    try:
        return dict(parse_json(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise LwexpError(f"{file}: is not a JSON object ({first_line(error)}); copy the model's folder again") from None


def size_surprise(model: ModelConfig) -> str | None:
    """How a folder differs from the published model of the preset that ``model.name`` names; None if it does not.

    ``model=qwen3_8b model.path=/models/qwen3-4b`` would otherwise train a run called qwen3_8b on another model.
    """
    preset = CONF / "model" / f"{model.name}.yaml"
    if model.init == "random" or not preset.is_file():
        return None
    expected = read_choice("model", model.name)
    if find_config(model.path, model.revision) is None:
        return None
    known = _published_sizes(str(expected.get("path")), model.family)
    found = _base_sizes(model, None)
    if known is None or found is None:
        return None
    counted = [name for name in type(model.shape).model_fields if name != "max_position_embeddings"]
    other = [
        f"{name} {getattr(found, name):,} in place of {getattr(known, name):,}"
        for name in counted
        if getattr(found, name) != getattr(known, name)
    ]
    if not other:
        return None
    return (
        f"model={model.name}: {model.path} is not {expected['path']}: it has {', '.join(other)}; the run takes the "
        f"folder's sizes. Set model.name=<name> too, or choose the preset of this model"
    )


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
    except HFValidationError:  # the path is not of the form owner/name, so it is a folder that does not exist
        return None
    return Path(cached) if isinstance(cached, str) else None


def _from_json(content: dict[str, Any], family: ModelFamily) -> Sizes:
    """Sizes from a transformers config.json, which may leave out those that have defaults."""
    if family.is_read_from_folder:
        config = read_config(content)
        family, content = folder_layers(config), config.to_dict()
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
        "attention_bias": bool(content.get("attention_bias", family.attention_bias)),
        "tied": bool(content.get("tie_word_embeddings", False)),
    }
    return Sizes(**{field.name: content[field.name] for field in fields(Sizes) if field.name in content}, family=family)
