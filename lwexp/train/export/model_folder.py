"""The trained model as an ordinary Hugging Face folder: weights, tokenizer, stop tokens, card with lineage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lwexp.config.train import ModelConfig
from lwexp.records import LwexpError, atomic
from lwexp.train.model.adapter import merged_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHARD_SIZE = "5GB"  # transformers 5 would write one file of up to 50 GB


def export_model(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    card: str,
    state: dict[str, Tensor] | None,
    *,
    config: ModelConfig,
    shard_size: str = SHARD_SIZE,
) -> None:
    """Write ``folder`` in one step (aside, then renamed). An adapter is merged into the weights it adapts.

    Args:
        model: Its config and, without ``state``, its weights.
        tokenizer: Carries the chat format the model was trained with.
        folder: Replaced if it exists.
        card: Text of README.md.
        state: Weights gathered from all ranks, under the model's own names; None takes the model's.
        config: Rank and scale of an adapter.
        shard_size: Largest weights file, as transformers reads it: 5GB, 300MB.

    Raises:
        LwexpError: If the disk does not take it.
    """
    from transformers import GenerationConfig
    from transformers.utils import logging as transformers_logging

    from lwexp.pack.chat import chat_of
    from lwexp.pack.tokenizer import save_tokenizer

    writer: Any = model
    stops = chat_of(tokenizer).stop_ids(tokenizer)
    # Stop and padding ids only: a max_new_tokens in this file would cap what servers generate.
    writer.generation_config = GenerationConfig(
        eos_token_id=stops, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )
    writer.config.eos_token_id, writer.config.pad_token_id = stops, tokenizer.pad_token_id
    transformers_logging.disable_progress_bar()
    try:
        whole = state  # None: transformers takes the model's own
        if config.adapter != "none":
            whole = merged_state(model.state_dict() if state is None else state, config)
        with atomic(folder) as aside:
            writer.save_pretrained(aside, state_dict=whole, max_shard_size=shard_size)
            save_tokenizer(tokenizer, aside)
            (aside / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise LwexpError(
            f"cannot write the model to {folder}: {error.strerror or error}; free some space and run the same "
            f"command again, it goes on from the newest checkpoint"
        ) from error


def has_model(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    try:
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return any(folder.glob("*.safetensors"))


def gather_state(trainer: Any) -> dict[str, Tensor] | None:
    """All weights on rank 0 under ZeRO-3, where no rank has them; None where the model has its own."""
    if not hasattr(trainer.model, "_zero3_consolidated_16bit_state_dict"):
        return None
    gathered = trainer.model._zero3_consolidated_16bit_state_dict() or {}
    return {name.removeprefix("model."): tensor for name, tensor in gathered.items()}


def load_checkpoint_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint, under the model's own names: Lightning's file, or a ZeRO folder put together.

    ZeRO's parts are joined by DeepSpeed's own ``zero_to_fp32``, in float32 and without any of the ranks.
    """
    if path.is_dir():
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        state = get_fp32_state_dict_from_zero_checkpoint(str(path), tag="checkpoint")
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix("_forward_module.").removeprefix("model."): tensor for name, tensor in state.items()}


def export_checkpoint(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    card: str,
    *,
    checkpoint: Path,
    config: ModelConfig,
    shard_size: str = SHARD_SIZE,
) -> None:
    """Write a checkpoint of an unfinished run as a model folder.

    Args:
        model: Of the run's architecture and number format; its weights are replaced.
        tokenizer: The run's.
        folder: Where the model goes.
        card: Text of README.md.
        checkpoint: ``Checkpoint.state``.
        config: Of the run's model.
        shard_size: Largest weights file.
    """
    state = load_checkpoint_weights(checkpoint)
    own = model.state_dict()
    if missing := sorted(own.keys() - state.keys()):
        tied = [name for name in missing if name == "lm_head.weight" and "model.embed_tokens.weight" in state]
        if missing != tied:
            raise LwexpError(f"{checkpoint} lacks {len(missing)} weights of the model, the first is {missing[0]}")
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    state = {name: tensor.to(own[name].dtype) for name, tensor in state.items() if name in own}
    export_model(model, tokenizer, folder, card, state, config=config, shard_size=shard_size)


def reshard_model(source: Path, folder: Path, card: str, shard_size: str | None) -> None:
    """Copy an exported model with another card and, with ``shard_size``, other weights files."""
    try:
        with atomic(folder) as aside:
            if shard_size is None:
                shutil.copytree(source, aside)
            else:
                from transformers import AutoModelForCausalLM
                from transformers.utils import logging as transformers_logging

                transformers_logging.disable_progress_bar()
                shutil.copytree(source, aside, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json"))
                model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", trust_remote_code=False)
                model.save_pretrained(aside, max_shard_size=shard_size)
            (aside / "README.md").write_text(card, encoding="utf-8")
    except OSError as error:
        raise LwexpError(
            f"cannot write the model to {folder}: {error.strerror or error}; free space or set out="
        ) from error
