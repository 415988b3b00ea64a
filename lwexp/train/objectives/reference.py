"""Log-probs under the start model, computed once and stored with fingerprints of model, packs and number format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lwexp.extend import Objective
from lwexp.records import LwexpError, atomic, parse_json, write_json
from lwexp.train.objectives.losses import sequence_logprobs

if TYPE_CHECKING:
    from lwexp.pack.dataset import PackBatch


@dataclass(frozen=True)
class Reference:
    """Sums of log-probs under the start model. Each kind of sum has one value per document."""

    sums: Mapping[str, Float64[np.ndarray, " documents"]]
    """``logprobs`` is log p of a document's targets. The others are weighted sums (``Objective.reference_parts``)."""

    def of(self, name: str, documents: Sequence[int]) -> Float64[np.ndarray, " documents"]:
        return self.sums[name][list(documents)]

    def logprobs(self, batch: PackBatch, like: Tensor) -> Float[Tensor, " documents"]:
        """log p of each document of a pack, on the device and in the number format of ``like``."""
        found = torch.from_numpy(self.of("logprobs", batch.document_ids))
        return found.to(like.device, like.dtype, non_blocking=True)


Sums = dict[str, Float64[np.ndarray, " documents"]]


def reference_sums(
    packs: Iterable[PackBatch],
    logprobs_of: Callable[[PackBatch], Float[Tensor, " targets"]],
    objective: Objective,
    num_documents: int,
) -> Sums:
    """Sums for the documents of the given packs.

    Args:
        packs: The packs, already on the device of the model.
        logprobs_of: Log-probs of a pack's targets under the start model.
        objective: Says which sums it needs besides the one over all targets.
        num_documents: Documents of the whole data set; those outside ``packs`` get NaN.
    """
    sums: Sums = {}
    for pack in packs:
        tokens = logprobs_of(pack)
        weights = {"logprobs": torch.ones_like(tokens), **objective.reference_parts(pack)}
        for name, weight in weights.items():
            found = sequence_logprobs(tokens * weight, pack.target_documents, len(pack.lengths)).cpu().numpy()
            sums.setdefault(name, np.full(num_documents, np.nan))[list(pack.document_ids)] = found
    return sums


def join_sums(shares: Sequence[Sums]) -> Reference:
    """Combine the sums that were computed over different packs.

    Raises:
        LwexpError: If a document has no finite log-prob.
    """
    joined: Sums = {}
    for share in shares:
        for name, values in share.items():
            known = joined.setdefault(name, values)
            joined[name] = np.where(np.isnan(known), values, known)
    if not np.isfinite(joined["logprobs"]).all():
        bad = np.flatnonzero(~np.isfinite(joined["logprobs"]))[:5].tolist()
        raise LwexpError(
            f"the start model gives no finite log-prob for documents {bad}; its weights are broken: start from another"
        )
    return Reference(joined)


def load_reference(folder: Path, made_from: Mapping[str, str] | None = None) -> Reference | None:
    """The stored reference; None if there is none.

    Args:
        folder: Where it is stored.
        made_from: Name -> fingerprint of everything that the reference depends on: start model, packs, number format.
            None skips this check.

    Raises:
        LwexpError: If the stored reference was made from something else.
    """
    if not (folder / "made_from.json").is_file():
        return None
    try:
        stored = dict(parse_json((folder / "made_from.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise LwexpError(f"{folder}: made_from.json is damaged; delete {folder} and rerun the command") from None
    if made_from is not None and stored != made_from:
        changed = ", ".join(sorted(k for k in stored.keys() | made_from.keys() if stored.get(k) != made_from.get(k)))
        raise LwexpError(
            f"{folder}: these reference log-probs were made from another {changed}; "
            f"restore what they were made from, or start the run over with rerun=true"
        )
    return Reference({path.stem: np.load(path) for path in folder.glob("*.npy")})


def store_reference(folder: Path, made_from: Mapping[str, str], reference: Reference) -> None:
    """Write a reference with the fingerprints of what it was made from."""
    with atomic(folder) as aside:
        aside.mkdir(parents=True)
        for name, values in reference.sums.items():
            np.save(aside / f"{name}.npy", values)
        write_json(aside / "made_from.json", dict(made_from))
