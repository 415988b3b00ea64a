"""Packs as a torch dataset: one item is one pack, assembled from memory-mapped arrays.

A pack of two documents, "abc" (targets b, c) and "xy" (target y):

    input_ids          a  b  c  x  y
    position_ids       0  1  2  0  1
    cu_seqlens         0        3     5
    source_positions   0  1     3          the hidden state here predicts ...
    target_ids         b  c     y          ... this token ...
    target_documents   0  0     1          ... of this document
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Int32, Int64
from torch import Tensor
from torch.utils.data import Dataset

from lwexp.pack.packing import PackReport
from lwexp.records import LwexpError, parse_json
from lwexp.records.checksums import check_files


@dataclass(frozen=True)
class PackBatch:
    """One pack, ready for a model: a batch of one sequence that holds several documents."""

    input_ids: Int64[Tensor, "1 tokens"]
    position_ids: Int64[Tensor, "1 tokens"]
    """Restart at 0 in each document."""
    cu_seqlens: Int32[Tensor, " bounds"]
    """The start of each document, then the end of the last one: documents + 1 values."""
    max_length: int
    """Tokens of the longest document."""
    lengths: tuple[int, ...]
    """Tokens of each document, as Python integers: reading them from a device would force a synchronisation."""
    source_positions: Int64[Tensor, " targets"]
    """Position in the pack of the hidden state that predicts each target: the token before it."""
    target_ids: Int64[Tensor, " targets"]
    target_documents: Int64[Tensor, " targets"]
    """Document of each target, 0 to documents-1, ascending."""
    document_ids: tuple[int, ...]
    """Numbers of the documents in the whole data set."""
    pack_id: int
    labels: Float[Tensor, "documents labels"]
    """The numbers stored with each document (``TrainingRows.labels``); often there are none."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackBatch:
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PackBatch:
        """Called by a DataLoader with ``pin_memory``."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> PackBatch:
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        tensors = {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return PackBatch(**(values | tensors))


class DocumentName(NamedTuple):
    name: str
    source: str


class PackedDataset(Dataset[PackBatch]):
    """The packs in a folder written by ``build_packs``. Opening it reads only headers and offsets."""

    def __init__(self, folder: Path) -> None:
        """Open a folder.

        Raises:
            LwexpError: If it has no finished packs, or a file has changed since it was written.
        """
        self.folder = folder
        check_files(folder, f"delete {folder} and rerun the command")
        try:
            meta = parse_json((folder / "meta.json").read_text(encoding="utf-8"))
            self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
            self._is_target = np.load(folder / "is_target.npy", mmap_mode="r")
            self._offsets = np.load(folder / "offsets.npy")
            targets = np.load(folder / "targets.npy")
            self._packs = np.load(folder / "packs.npy")
            self._pack_offsets = np.load(folder / "pack_offsets.npy")
            known = folder / "labels.npy"  # packs of earlier versions have none
            self._labels = np.load(known) if known.is_file() else np.zeros((len(targets), 0))
            self.kind: str = meta["kind"]
            self.fingerprint: str = meta["fingerprint"]
            self.report = PackReport.from_tree(meta["report"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            message = f"{folder} has no finished packs ({error}); delete it and rerun the command"
            raise LwexpError(message) from None
        assert self._offsets[-1] == len(self._tokens) == len(self._is_target) == self.report.packed.tokens
        assert self._pack_offsets[-1] == len(self._packs) == len(targets) == self.report.packed.documents
        lengths = np.diff(self._offsets)[self._packs]
        self.costs: Int64[np.ndarray, " packs"] = self._in_pack_order(lengths**2)
        """Attention cost: the sum of squared document lengths."""
        self.token_counts: Int64[np.ndarray, " packs"] = self._in_pack_order(lengths)
        self.target_counts: Int64[np.ndarray, " packs"] = self.sum_per_pack(targets)
        self.longest_document = int(lengths.max())
        """Tokens of the longest document."""
        self.document_counts: Int64[np.ndarray, " packs"] = np.diff(self._pack_offsets)
        self.document_targets: Int64[np.ndarray, " documents"] = targets
        """Target tokens of each document, by its number."""

    def sum_per_pack(self, values: Int[np.ndarray, " documents"]) -> Int64[np.ndarray, " packs"]:
        """For each pack, the sum of its documents' values; ``values`` is indexed by document number."""
        return self._in_pack_order(values[self._packs])

    def _in_pack_order(self, values: Int[np.ndarray, " documents"]) -> Int64[np.ndarray, " packs"]:
        return np.add.reduceat(values, self._pack_offsets[:-1])

    def __reduce__(self) -> tuple[type[PackedDataset], tuple[Path]]:
        """Workers open the folder themselves; pickling the memory maps would copy all the tokens."""
        return PackedDataset, (self.folder,)

    @property
    def num_packs(self) -> int:
        return len(self._pack_offsets) - 1

    @property
    def num_documents(self) -> int:
        """Number of documents; a preference pair has two."""
        return len(self._packs)

    def long_from(self) -> int:
        """Documents with at least this many target tokens are long: together they hold half of all targets.

        Example: for documents of 1, 2, 3 and 6 targets it is 6, because the longest alone holds 6 of 12.
        """
        longest_first = np.sort(self.document_targets)[::-1]
        enough = np.cumsum(longest_first, dtype=np.int64) * 2 >= longest_first.sum(dtype=np.int64)
        return int(longest_first[np.argmax(enough)])

    def __len__(self) -> int:
        return self.num_packs

    def __getitem__(self, pack_id: int) -> PackBatch:
        if not 0 <= pack_id < self.num_packs:
            raise IndexError(f"pack {pack_id} of {self.num_packs}")
        documents = self._packs[self._pack_offsets[pack_id] : self._pack_offsets[pack_id + 1]].tolist()
        spans = [slice(*self._offsets[number : number + 2].tolist()) for number in documents]
        ids = np.concatenate([self._tokens[span] for span in spans]).astype(np.int64)
        is_target = np.concatenate([self._is_target[span] for span in spans])
        lengths = np.array([span.stop - span.start for span in spans])
        ends = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(len(ids)) - np.repeat(ends[:-1], lengths)
        targets = np.flatnonzero(is_target)
        assert positions[targets].all(), f"pack {pack_id}: a document starts with a target, which nothing predicts"
        target_documents = np.repeat(np.arange(len(documents)), lengths)[targets]
        return PackBatch(
            input_ids=torch.from_numpy(ids)[None],
            position_ids=torch.from_numpy(positions)[None],
            cu_seqlens=torch.from_numpy(ends.astype(np.int32)),
            max_length=int(lengths.max()),
            lengths=tuple(lengths.tolist()),
            source_positions=torch.from_numpy(targets - 1),
            target_ids=torch.from_numpy(ids[targets]),
            target_documents=torch.from_numpy(target_documents),
            document_ids=tuple(documents),
            pack_id=int(pack_id),
            labels=torch.from_numpy(self._labels[documents]),
        )

    def document_names(self) -> list[DocumentName]:
        """Name and source of every document, by number."""
        with (self.folder / "documents.jsonl").open(encoding="utf-8") as lines:
            return [DocumentName(**parse_json(line)) for line in lines]
