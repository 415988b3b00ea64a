"""The trained model as an ordinary Hugging Face folder: weights, tokenizer, stop tokens, card with lineage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lwexp.config.base import Tree
from lwexp.config.schema import Config
from lwexp.config.train import SFT
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHARD_SIZE = "5GB"  # transformers 5 would write one file of up to 50 GB


def export_model(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, folder: Path, card: str, state: dict[str, Tensor] | None
) -> None:
    """Write ``folder`` in one step (aside, then renamed).

    Args:
        model: Its config and, without ``state``, its weights.
        tokenizer: Carries the chat format the model was trained with.
        folder: Replaced if it exists.
        card: Text of README.md.
        state: Weights gathered from all ranks, under the model's own names; None takes the model's.

    Raises:
        LwexpError: If the disk does not take it.
    """
    from transformers import GenerationConfig
    from transformers.utils import logging as transformers_logging

    from lwexp.pack.chat import chat_of
    from lwexp.pack.tokenizer import save_tokenizer

    aside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    writer: Any = model
    stops = chat_of(tokenizer).stop_ids(tokenizer)
    # Stop and padding ids only: a max_new_tokens in this file would cap what servers generate.
    writer.generation_config = GenerationConfig(
        eos_token_id=stops, pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )
    writer.config.eos_token_id, writer.config.pad_token_id = stops, tokenizer.pad_token_id
    transformers_logging.disable_progress_bar()
    try:
        writer.save_pretrained(aside, state_dict=state, max_shard_size=SHARD_SIZE)
        save_tokenizer(tokenizer, aside)
        (aside / "README.md").write_text(card, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
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


def model_card(config: Config, run: RunDirectory, results: Tree) -> str:
    """README.md of the model: what it is, from what, how, and what came out."""
    objective, manifest = config.objective, run.manifest
    base = config.model.path if config.model.init == "pretrained" else None
    header = ["---", "library_name: transformers", "pipeline_tag: text-generation", "language: [en, zh]"]
    header += [f"base_model: {base}"] if base else []
    header += [f"tags: [lwexp, long-form, {objective.kind}]", "---"]
    rows = {
        "run": run.id,
        "model": f"{config.model.name} ({'from ' + base if base else 'random initialisation'})",
        "objective": objective.kind,
        "loss": f"mean per {objective.normalize}" if isinstance(objective, SFT) else f"beta {objective.beta}",
        "learning rate": f"{objective.optimizer.lr:g}, {objective.optimizer.schedule}",
        "packs a step": f"{objective.global_batch} of at most {config.pack.max_tokens:,} tokens",
        "steps": f"{results['steps']:,}",
        "target tokens": f"{results['target_tokens']:,}",
        "final loss": f"{results['final_loss']:.4f}",
        "longest answer trained on": f"{results['max_train_words']:,} words",
        "chat format": config.model.chat,
        "seed": config.seed,
        "code": _commit(manifest.get("git") or {}),
    }
    lines = [
        *header,
        "",
        f"# {run.id}",
        "",
        "Trained with lwexp, a framework for the LongWriter recipe (arXiv 2408.07055).",
        "",
    ]
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), "", "## Lineage", ""]
    lines += [f"- made from run `{parent['id']}`" for parent in manifest.get("parents", [])]
    lines += [f"- input `{name}`: sha256 `{digest}`" for name, digest in manifest.get("inputs", {}).items()]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items() if version)
    lines += [f"- versions: {versions}" if versions else "- versions: not recorded"]
    lines += [
        "",
        "The chat format is in the tokenizer: `tokenizer.apply_chat_template(messages, add_generation_prompt=True)`.",
    ]
    return "\n".join(lines) + "\n"


def _commit(git: Tree) -> str:
    if not git.get("commit"):
        return "not under version control"
    return f"commit {git['commit']}{' with local changes' if git.get('dirty') else ''}"
