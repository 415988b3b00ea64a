"""The trained model as an ordinary Hugging Face folder: weights, tokenizer, stop tokens, model card."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lwexp.config.train import ModelConfig
from lwexp.pack.model_weights import check_model, load_weights
from lwexp.records import LwexpError, atomic, disk_refusal, parse_json
from lwexp.records.checksums import changed_file, write_checksums
from lwexp.train.model.adapter import adapted_matrices, adapter_state
from lwexp.train.model.dimensions import SHARD_BYTES
from lwexp.train.model.merging import MergedState, merged_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHARD_SIZE = f"{SHARD_BYTES // 10**9}GB"


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
    """Write ``folder`` atomically (to a temporary folder, then renamed). An adapter is merged into its base weights.

    Args:
        model: Gives the config and, if ``state`` is None, the weights.
        tokenizer: Carries the chat format that the model was trained with.
        folder: Replaced if it exists.
        card: Text of README.md.
        state: Weights under the model's own names, gathered from all ranks or read from a checkpoint. None means the
            weights of ``model``. It is emptied: a weight is freed as soon as it has been written.
        config: Gives the rank and scale of an adapter.
        shard_size: Largest size of a weights file in transformers' notation, such as 5GB or 300MB.

    Raises:
        LwexpError: If the folder cannot be written.
    """
    from transformers import GenerationConfig

    from lwexp.pack.chat import chat_of
    from lwexp.pack.tokenizer import save_tokenizer

    writer: Any = model
    stops = chat_of(tokenizer).stop_ids(tokenizer)
    # Stop, begin and padding ids only: a max_new_tokens in this file would cap what servers generate.
    writer.generation_config = GenerationConfig(
        eos_token_id=stops, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )
    writer.config.eos_token_id, writer.config.pad_token_id = stops, tokenizer.pad_token_id
    with _written(folder, card, "free some space and rerun the command; no step is trained again") as new:
        if config.adapter != "none":
            state = merged_state(model.state_dict() if state is None else state, config)
        writer.save_pretrained(new, state_dict=state, max_shard_size=shard_size)
        if isinstance(state, MergedState) and state.unused:
            raise RuntimeError(f"transformers wrote weights without their adapter, such as {min(state.unused)}")
        save_tokenizer(tokenizer, new)


def export_adapter(
    model: nn.Module, folder: Path, state: dict[str, Tensor] | None, *, config: ModelConfig, base: str | None
) -> None:
    """Write the adapter alone in peft's format, as ``PeftModel.from_pretrained`` and vLLM's LoRA modules read it.

    Args:
        model: Gives the weights if ``state`` is None.
        folder: Replaced if it exists.
        state: As for ``export_model``.
        config: Gives the rank and the scale.
        base: Hub id or folder of the model that was adapted; None if its weights were random.

    Raises:
        LwexpError: If the folder cannot be written.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    own = adapter_state(model.state_dict() if state is None else state)
    lora = config.lora
    settings = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=adapted_matrices(own), bias="none",
        task_type="CAUSAL_LM", base_model_name_or_path=base, inference_mode=True,
    )  # fmt: skip
    card = (
        f"---\nlibrary_name: peft\n{f'base_model: {base}' + chr(10) if base else ''}tags: [lwexp, lora]\n---\n\n"
        f"A LoRA adapter. The folder `model` beside it holds the same model with the adapter merged into the weights.\n"
    )
    with _written(folder, card, "free some space and rerun the command; no step is trained again") as new:
        new.mkdir(parents=True, exist_ok=True)
        save_file({name: weight.detach().cpu().contiguous() for name, weight in own.items()},
                  new / "adapter_model.safetensors", metadata={"format": "pt"})  # fmt: skip
        settings.save_pretrained(str(new))


def reshard_model(source: Path, folder: Path, card: str, shard_size: str | None) -> None:
    """Copy an exported model with a new card. If ``shard_size`` is given, split the weights into files of that size.

    Raises:
        LwexpError: If the model's files have changed since its export, or the folder cannot be written.
    """
    check_model(source)
    with _written(folder, card, "free some space or set out=<folder>") as new:
        if shard_size is None:
            shutil.copytree(source, new)
        else:
            shutil.copytree(source, new, ignore=shutil.ignore_patterns("*.safetensors", "*.index.json"))
            model = load_weights(source, dtype="auto")
            model.save_pretrained(new, max_shard_size=shard_size)


@contextlib.contextmanager
def _written(folder: Path, card: str, mend: str) -> Iterator[Path]:
    """A temporary folder that becomes ``folder``, with ``card`` as its README.md and the checksums of its files.

    A disk error is raised as an LwexpError of one line that ends with the advice ``mend``.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        with atomic(folder) as new:
            yield new
            (new / "README.md").write_text(card, encoding="utf-8")
            write_checksums(new, folder)
    except Exception as error:
        # safetensors and tokenizers are written in Rust and raise their own error types when the disk is full.
        if not isinstance(error, OSError) and "(os error " not in str(error):
            raise
        reason = disk_refusal(error) or (error.strerror if isinstance(error, OSError) else None)
        if reason is None and isinstance(error, shutil.Error):  # holds a list: what was copied, to where, and why not
            reason = str(error.args[0][0][2])
        raise LwexpError(f"cannot write the model to {folder}: {reason or error}; {mend}") from error


def has_model(folder: Path) -> bool:
    """Whether a folder holds a complete exported model, as it was written."""
    try:
        parse_json((folder / "config.json").read_text(encoding="utf-8"))
        index = folder / "model.safetensors.index.json"
        weights = sorted(folder.glob("*.safetensors"))
        if index.is_file():
            weights = [folder / name for name in set(parse_json(index.read_bytes())["weight_map"].values())]
        return bool(weights) and all(_is_whole(file) for file in weights) and changed_file(folder) is None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as its header says: 8 bytes of the header's length, the header, tensors."""
    with file.open("rb") as content:
        size, length = file.stat().st_size, int.from_bytes(content.read(8), "little")
        if 8 + length > size:
            return False
        header = parse_json(content.read(length))
    end = max((row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"), default=0)
    return bool(8 + length + end == size)


def free_weights(model: nn.Module) -> None:
    """Forget the numbers of a model that is only needed for its config and the names and shapes of its weights."""
    untyped: Any = model.to("meta")
    untyped.tie_weights()


def gather_state(trainer: Any) -> dict[str, Tensor] | None:
    """Under ZeRO-3, where each rank holds a part, gather all weights on rank 0 (other ranks get an empty dict).

    None if the model itself holds whole weights. All ranks must call it.
    """
    engine = trainer.model
    # DeepSpeed's engine has the method used below at every stage, but at stage 2 it only raises an error.
    if not hasattr(engine, "zero_optimization_partition_weights") or not engine.zero_optimization_partition_weights():
        return None
    gathered = engine._zero3_consolidated_16bit_state_dict() or {}
    return {name.removeprefix("model."): tensor for name, tensor in gathered.items()}


def checkpoint_state(model: nn.Module, checkpoint: Path, *, lacks_base: bool = False) -> dict[str, Tensor]:
    """Weights of a checkpoint under the model's own names and in its number format.

    Args:
        model: A model with the run's architecture and number format. Its own weights are freed, unless they are part
            of the result.
        checkpoint: ``Checkpoint.state``, which is Lightning's file or, under ZeRO, a folder. DeepSpeed's own
            ``zero_to_fp32`` joins the parts of a folder in float32, in this process alone.
        lacks_base: Whether the frozen weights, of which some were in 4 bits, are taken from ``model``.

    Raises:
        LwexpError: If the checkpoint lacks weights of the model.
    """
    own = model.state_dict()
    formats = {name: weight.dtype for name, weight in own.items()}
    base = {name: weight for name, weight in own.items() if ".lora_" not in name} if lacks_base else {}
    del own
    free_weights(model)
    if checkpoint.is_dir():
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        stored = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag="checkpoint")
    else:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
    state = base | {
        name.removeprefix("_forward_module.").removeprefix("model."): stored.pop(name) for name in list(stored)
    }
    missing = sorted(formats.keys() - state.keys())
    if missing == ["lm_head.weight"] and "model.embed_tokens.weight" in state:  # tied weights are stored once
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    elif missing:
        raise LwexpError(f"{checkpoint} lacks {len(missing)} weights of the model; the first is {missing[0]}")
    return {name: state.pop(name).to(formats[name]) for name in list(state) if name in formats}
