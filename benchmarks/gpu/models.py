"""Models and packs of the GPU benchmark: real widths with few layers and random weights, or tiny models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from benchmarks.gpu.place import Place
from benchmarks.train_step import Tokenizer
from lwexp.config import compose
from lwexp.extend import StepTotals
from lwexp.pack.dataset import PackBatch
from lwexp.train.model.build import build_model
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.losses import sft_loss, sft_weights

TINY = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 400}
PROMPT = 30
"""Number of tokens at the start of each document that are not targets."""


def model_config(place: Place, name: str, changes: dict[str, int]) -> Any:
    """A config whose model is ``name`` with some sizes changed; with --quick, a tiny model of the same family."""
    if place.quick:
        config = compose("model=tiny_glm" if name == "glm4" else "model=tiny_llama", "hardware=cpu")
        changes = TINY
    else:
        config = compose(f"model={name}", "model.init=random", "hardware=gpu1")
    shape = config.model.shape.model_copy(update=changes)
    return config.model_copy(update={"model": config.model.model_copy(update={"shape": shape})})


def make_model(place: Place, config: Any, *, dtype: torch.dtype | None = None, **choices: Any) -> Any:
    """A model with the same weights at every call; ``choices`` are build_model's attend, fuse and weights."""
    with torch.device(place.device):
        return build_model(config.model, Tokenizer(), seed=0, dtype=dtype or place.dtype, **choices)


def checkpoint_activations(model: Any) -> None:
    """Recompute each layer in the backward pass. transformers before about 5.20 knows only the older name."""
    method = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    argument = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    method(**{f"{argument}_checkpointing_kwargs": {"use_reentrant": False}})


def our_loss(model: Any, pack: PackBatch) -> torch.Tensor:
    """The loss of a pack, computed as in ``PackedTraining``."""
    weights = sft_weights(pack.target_documents, len(pack.lengths), totals_of(pack), "token")
    return sft_loss(pack_logprobs(model, pack), weights)


def totals_of(pack: PackBatch) -> StepTotals:
    """Counts of a step that consists of this pack alone."""
    tokens = sum(pack.lengths)
    squares = sum(length**2 for length in pack.lengths)
    return StepTotals(packs=1, documents=len(pack.lengths), target_tokens=len(pack.target_ids), tokens=tokens,
                      document_squares=squares, pack_squares=tokens**2)  # fmt: skip


def make_pack(lengths: tuple[int, ...], words: int, number: int) -> PackBatch:
    """Random words in documents of the given lengths."""
    starts = np.cumsum([0, *lengths])
    ids = torch.randint(0, words, (sum(lengths),), generator=torch.Generator().manual_seed(number))
    places = [torch.arange(s + min(PROMPT, n - 1), s + n) for s, n in zip(starts, lengths, strict=False)]
    targets = torch.cat(places)
    return PackBatch(
        input_ids=ids[None], position_ids=torch.cat([torch.arange(n) for n in lengths])[None],
        cu_seqlens=torch.tensor(starts, dtype=torch.int32), max_length=max(lengths), lengths=lengths,
        source_positions=targets - 1, target_ids=ids[targets],
        target_documents=torch.cat([torch.full_like(place, i) for i, place in enumerate(places)]),
        document_ids=tuple(range(len(lengths))), pack_id=number, labels=torch.zeros(len(lengths), 0),
    )  # fmt: skip
