"""Reference log-probs for DPO: those of the start model, computed once, on disk, tied to what they were made from."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import nn

from lwexp.records import LwexpError, write_json
from lwexp.train.logprobs import pack_logprobs
from lwexp.train.losses import find_pairs, is_in, sequence_logprobs
from lwexp.train.progress import track_packs

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackedDataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """What DPO knows of its start model."""

    logprobs: Float64[np.ndarray, " documents"]
    """log p of each document's targets."""
    chosen_tokens: Int64[np.ndarray, " packs"]
    """Targets of chosen answers in each pack: the denominator of the NLL term."""


@torch.no_grad()
def compute_reference(model: nn.Module, dataset: PackedDataset, device: torch.device) -> Reference:
    """One forward pass over all packs."""
    logprobs = np.full(dataset.num_documents, np.nan)
    chosen_tokens = np.zeros(dataset.num_packs, dtype=np.int64)
    model.to(device)
    for number in track_packs(range(dataset.num_packs), "reference log-probs"):
        pack = dataset[number].to(device)
        documents = len(pack.lengths)
        sums = sequence_logprobs(pack_logprobs(model, pack), pack.target_documents, documents)
        logprobs[list(pack.document_ids)] = sums.cpu().numpy()
        chosen = find_pairs(pack.document_ids).chosen
        chosen_tokens[number] = int(is_in(chosen, pack.target_documents, documents).sum())
    if not np.isfinite(logprobs).all():
        bad = np.flatnonzero(~np.isfinite(logprobs))[:5].tolist()
        raise LwexpError(f"the start model gives no finite log-prob for documents {bad}; its weights are broken")
    return Reference(logprobs, chosen_tokens)


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
        return Reference(np.load(folder / "logprobs.npy"), np.load(folder / "chosen_tokens.npy"))
    reference = compute()
    aside = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    np.save(aside / "logprobs.npy", reference.logprobs)
    np.save(aside / "chosen_tokens.npy", reference.chosen_tokens)
    write_json(aside / "made_from.json", made_from)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return reference
