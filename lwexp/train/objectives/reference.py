"""Reference log-probs for DPO: those of the start model, computed once, on disk, tied to what they were made from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import nn

from lwexp.records import LwexpError, atomic, write_json
from lwexp.train.loop.progress import track_packs
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.losses import sequence_logprobs
from lwexp.train.objectives.preference import find_pairs, is_tail, target_counts

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackedDataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """What DPO knows of its start model."""

    logprobs: Float64[np.ndarray, " documents"]
    """log p of each document's targets."""
    tails: Float64[np.ndarray, " documents"]
    """The part of it that lies beyond the length of the other answer of the pair."""
    chosen_tokens: Int64[np.ndarray, " packs"]
    """Targets of chosen answers in each pack: the denominator of the NLL term."""

    def weighted(self, documents: Sequence[int], ld_alpha: float) -> Float64[np.ndarray, " documents"]:
        """log p of these documents with their tails weighted by ``ld_alpha``."""
        rows = list(documents)
        return self.logprobs[rows] - (1 - ld_alpha) * self.tails[rows]


@torch.no_grad()
def compute_reference(model: nn.Module, dataset: PackedDataset, device: torch.device) -> Reference:
    """One forward pass over all packs."""
    logprobs, tails = np.full(dataset.num_documents, np.nan), np.zeros(dataset.num_documents)
    chosen_tokens = np.zeros(dataset.num_packs, dtype=np.int64)
    model.to(device)
    for number in track_packs(range(dataset.num_packs), "reference log-probs"):
        pack = dataset[number].to(device)
        documents = len(pack.lengths)
        pairs, counts = find_pairs(pack.document_ids), target_counts(pack.target_documents, documents)
        tokens = pack_logprobs(model, pack)
        tail = is_tail(pack.target_documents, counts, pairs)
        rows = list(pack.document_ids)
        logprobs[rows] = sequence_logprobs(tokens, pack.target_documents, documents).cpu().numpy()
        tails[rows] = sequence_logprobs(tokens * tail, pack.target_documents, documents).cpu().numpy()
        chosen_tokens[number] = int(counts[pairs.chosen].sum())
    if not np.isfinite(logprobs).all():
        bad = np.flatnonzero(~np.isfinite(logprobs))[:5].tolist()
        raise LwexpError(f"the start model gives no finite log-prob for documents {bad}; its weights are broken")
    return Reference(logprobs, tails, chosen_tokens)


def load_or_compute(folder: Path, made_from: dict[str, str], compute: Callable[[], Reference]) -> Reference:
    """The stored reference, or a new one that is stored.

    Args:
        folder: Where it is kept.
        made_from: Name -> fingerprint of everything that shapes it: start model, packs, number format.
        compute: Makes it.

    Raises:
        LwexpError: If what is stored was made from something else.
    """
    import json

    if (folder / "made_from.json").is_file():
        stored = json.loads((folder / "made_from.json").read_text(encoding="utf-8"))
        if stored != made_from:
            changed = ", ".join(
                sorted(k for k in stored.keys() | made_from.keys() if stored.get(k) != made_from.get(k))
            )
            raise LwexpError(
                f"{folder}: these reference log-probs were made from another {changed}; "
                f"restore what they were made from, or delete the folder to compute them anew"
            )
        log.info("reference log-probs in %s are up to date", folder)
        return Reference(*(np.load(folder / f"{name}.npy") for name in ("logprobs", "tails", "chosen_tokens")))
    reference = compute()
    with atomic(folder) as aside:
        aside.mkdir(parents=True)
        for name in ("logprobs", "tails", "chosen_tokens"):
            np.save(aside / f"{name}.npy", getattr(reference, name))
        write_json(aside / "made_from.json", made_from)
    return reference
