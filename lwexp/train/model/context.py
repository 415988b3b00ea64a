"""The context of a model: how many positions it has, and how its rotary frequencies cover them."""

from typing import Any

from lwexp.config.train import ModelConfig
from lwexp.extend import Sizes
from lwexp.records import LwexpError

_KEPT = ("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
"""Rotary parameters of a model folder that are kept when ``model.rope_scaling`` replaces the folder's own scaling."""


def context_length(model: ModelConfig, sizes: Sizes) -> int:
    """Number of positions of the trained model: the config's if it sets one, else the model's own."""
    return model.context_length or sizes.max_position_embeddings


def context_problem(model: ModelConfig, sizes: Sizes, tokens: int) -> str | None:
    """Why a document of ``tokens`` tokens is too long for the model, and what to set; None if it is not too long."""
    longest = context_length(model, sizes)
    if tokens <= longest:
        return None
    is_own = model.init == "random" and model.context_length is None
    key = "model.shape.max_position_embeddings" if is_own else "model.context_length"
    return (
        f"context: {model.name} has {longest:,} positions, and a pack may hold a document of {tokens:,} tokens; set "
        f"{key}={tokens} (docs/training.md, Context) or pack.max_tokens={longest}"
    )


def context_changes(model: ModelConfig) -> list[str]:
    """What the config changes in the model's own context, in words."""
    scaling = model.rope_scaling
    return [
        text
        for text in (
            model.context_length and f"{model.context_length:,} positions",
            model.rope_theta and f"rope_theta {model.rope_theta:g}",
            scaling and f"{scaling.kind} scaling by {scaling.factor:g}",
        )
        if text
    ]


def set_context(found: Any, model: ModelConfig) -> None:
    """Write the context that a run asks for into a transformers config, which the exported model keeps.

    Applying this twice gives the same config, so DPO can start from the export of an SFT run with the same settings.

    Args:
        found: A transformers config; changed in place.
        model: Gives ``context_length``, ``rope_theta`` and ``rope_scaling``. A null keeps the value in ``found``.

    Raises:
        LwexpError: If ``context_length`` alone is set, but would also change the model's rotary frequencies; or if
            they differ between layers and the run wants to change them.
    """
    rope, own, scaling = dict(found.rope_parameters or {}), found.max_position_embeddings, model.rope_scaling
    if isinstance(rope.get("full_attention"), dict):  # Gemma 3: one set of parameters for each type of layer
        if model.rope_theta is not None or scaling is not None:
            raise LwexpError(
                "model.rope_theta, model.rope_scaling: this model has rotary frequencies for each type of layer, which "
                "these keys do not tell apart; set both to null, or edit the folder's config.json"
            )
        found.max_position_embeddings = model.context_length or own
        return
    kind = rope.get("rope_type", "default")
    if model.context_length not in (None, own) and scaling is None and kind in ("dynamic", "longrope"):
        raise LwexpError(
            f"model.context_length={model.context_length}: the rotary frequencies of this model (rope_type={kind}) "
            f"depend on its length; set model.rope_scaling too, or model.context_length=null"
        )
    if model.rope_theta is not None:
        rope["rope_theta"] = model.rope_theta
    if scaling is not None:
        rope = {name: rope[name] for name in _KEPT if name in rope}
        rope |= {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "yarn":
            rope.setdefault("original_max_position_embeddings", own)
        else:
            rope.pop("original_max_position_embeddings", None)
    found.rope_parameters = rope
    if model.context_length is not None:
        found.max_position_embeddings = model.context_length
