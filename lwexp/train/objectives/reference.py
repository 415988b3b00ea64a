"""Log-probs of the start model, computed once and stored with fingerprints of model, packs and number format."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from lwexp.extend import Objective
from lwexp.records import LwexpError, atomic, write_json
from lwexp.runs.progress import track
from lwexp.train.model.logprobs import pack_logprobs
from lwexp.train.objectives.losses import sequence_logprobs

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch, PackedDataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reference:
    """Sums of the start model's log-probs, one of each kind per document."""

    sums: Mapping[str, Float64[np.ndarray, " documents"]]
    """``logprobs``: log p of all targets of a document; then weighted sums of them (``Objective.reference_parts``)."""

    def of(self, name: str, documents: Sequence[int]) -> Float64[np.ndarray, " documents"]:
        return self.sums[name][list(documents)]

    def logprobs(self, batch: PackBatch, like: Tensor) -> Float[Tensor, " documents"]:
        """log p of each document of a pack, on the device and in the number format of ``like``."""
        found = torch.from_numpy(self.of("logprobs", batch.document_ids))
        return found.to(like.device, like.dtype, non_blocking=True)


@torch.no_grad()
def compute_reference(
    model: nn.Module, dataset: PackedDataset, objective: Objective, device: torch.device
) -> Reference:
    """One forward pass over all packs."""
    sums: dict[str, Float64[np.ndarray, " documents"]] = {}
    model.to(device)
    for number in track(range(dataset.num_packs), "reference log-probs", dataset.num_packs):
        pack = dataset[number].to(device)
        tokens = pack_logprobs(model, pack)
        weights = {"logprobs": torch.ones_like(tokens), **objective.reference_parts(pack)}
        for name, weight in weights.items():
            found = sequence_logprobs(tokens * weight, pack.target_documents, len(pack.lengths)).cpu().numpy()
            sums.setdefault(name, np.full(dataset.num_documents, np.nan))[list(pack.document_ids)] = found
    if not np.isfinite(sums["logprobs"]).all():
        bad = np.flatnonzero(~np.isfinite(sums["logprobs"]))[:5].tolist()
        raise LwexpError(f"the start model gives no finite log-prob for documents {bad}; its weights are broken")
    return Reference(sums)


def load_or_compute(folder: Path, made_from: dict[str, str], compute: Callable[[], Reference]) -> Reference:
    """The stored reference, or a new one, which is then stored.

    Args:
        folder: Where it is stored.
        made_from: Name -> fingerprint of everything that shapes it: start model, packs, number format.
        compute: Makes it.

    Raises:
        LwexpError: If the stored reference was made from something else.
    """
    if (folder / "made_from.json").is_file():
        stored = json.loads((folder / "made_from.json").read_text(encoding="utf-8"))
        if stored != made_from:
            changed = ", ".join(
                sorted(k for k in stored.keys() | made_from.keys() if stored.get(k) != made_from.get(k))
            )
            raise LwexpError(
                f"{folder}: these reference log-probs were made from another {changed}; "
                f"restore what they were made from, or delete the folder to compute them again"
            )
        log.info("reference log-probs in %s are up to date", folder)
        return Reference({path.stem: np.load(path) for path in folder.glob("*.npy")})
    reference = compute()
    with atomic(folder) as aside:
        aside.mkdir(parents=True)
        for name, values in reference.sums.items():
            np.save(aside / f"{name}.npy", values)
        write_json(aside / "made_from.json", made_from)
    return reference
