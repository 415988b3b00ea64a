"""Writes messages as flat token arrays on disk, one batch at a time, so that memory does not grow with the data.

A finished folder holds, besides ``meta.json``:

    tokens.npy         int32[tokens]        all documents, one after another
    is_target.npy      uint8[tokens]        1 where a token carries loss
    offsets.npy        int64[documents+1]   where each document starts
    targets.npy        int64[documents]     target tokens of each document
    packs.npy          int64[documents]     document numbers, pack after pack
    pack_offsets.npy   int64[packs+1]       where each pack starts in packs.npy
    labels.npy         float64[documents, labels]   the numbers stored with each document; often none
    documents.jsonl    one line for each document: its name and source
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Integer

from lwexp.extend import TrainingRows
from lwexp.pack.chat import UnencodableError, chat_of, encode_stream
from lwexp.pack.encoding import Encoded
from lwexp.pack.packing import Counts
from lwexp.records import LwexpError, Message, turn_problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# About half a million tokens, so that every core has many texts. Two batches are in memory at a time.
_BATCH_CHARACTERS = 1 << 21


class RowDocuments(NamedTuple):
    """The documents of one row of the mixture, which are packed together."""

    id: str
    source: str
    documents: tuple[tuple[Message, ...], ...]
    labels: tuple[tuple[float, ...], ...]
    """The labels of each document."""


def documents_of(row: Any, kind: TrainingRows[Any]) -> RowDocuments:
    """The documents of a row.

    Raises:
        LwexpError: If its turns do not alternate; the message names the row.
    """
    documents, labels = kind.documents(row), kind.labels_of(row)
    assert len(documents) == len(labels) == len(kind.endings), (kind.kind, len(documents), len(labels))
    assert all(len(of_document) == len(kind.labels) for of_document in labels), (kind.kind, labels)
    for document in documents:
        if problem := turn_problem(document, last="assistant"):
            raise LwexpError(f"{row.id} (source {row.source}): {problem}; fix or remove this row")
    return RowDocuments(row.id, row.source, documents, labels)


class TooLong(NamedTuple):
    """The longest row that does not fit into a pack."""

    id: str
    source: str
    tokens: int


@dataclass
class Tokenized:
    """Counts of documents that were written and that were too long."""

    lengths: array[int] = field(default_factory=lambda: array("q"))
    targets: array[int] = field(default_factory=lambda: array("q"))
    labels: array[float] = field(default_factory=lambda: array("d"))
    sources: dict[str, Counts] = field(default_factory=dict)
    packed: Counts = field(default_factory=Counts)
    dropped: Counts = field(default_factory=Counts)
    num_too_long: int = 0
    longest: TooLong | None = None


def tokenize_documents(
    rows: Iterable[RowDocuments],
    tokenizer: PreTrainedTokenizerFast,
    capacity: int,
    folder: Path,
    kind: TrainingRows[Any],
) -> Tokenized:
    """Write tokens, targets, offsets and names of all rows that fit into a pack.

    Args:
        rows: Read once, in order.
        tokenizer: With its chat format set.
        capacity: Tokens of a pack; a row with more is counted and not written.
        folder: Must exist.
        kind: Which answers carry loss, and how documents are named and labelled.
    """
    chat = chat_of(tokenizer)
    done = Tokenized()
    with (
        growing_array(folder / "tokens.npy", np.int32) as append_tokens,
        growing_array(folder / "is_target.npy", np.uint8) as append_targets,
        (folder / "documents.jsonl").open("w", encoding="utf-8") as names,
    ):
        sent: deque[list[RowDocuments]] = deque()
        batches = encode_stream(tokenizer, chat, _documents(rows, sent), answers=kind.answers)
        for documents_of_batch in _naming_rows(batches, sent):
            encoded = iter(documents_of_batch)
            for row in sent.popleft():
                documents = [next(encoded) for _ in row.documents]
                if _count(done, row, documents, capacity):
                    for document, ending in zip(documents, kind.endings, strict=True):
                        append_tokens(document.ids)
                        append_targets(document.is_target)
                        names.write(json.dumps({"name": row.id + ending, "source": row.source}) + "\n")
    offsets = np.concatenate([[0], np.cumsum(np.array(done.lengths, dtype=np.int64))])
    np.save(folder / "offsets.npy", offsets.astype(np.int64))
    np.save(folder / "targets.npy", np.array(done.targets, dtype=np.int64))
    np.save(folder / "labels.npy", np.array(done.labels).reshape(len(done.lengths), len(kind.labels)))
    return done


def _documents(rows: Iterable[RowDocuments], sent: deque[list[RowDocuments]]) -> Iterator[list[tuple[Message, ...]]]:
    """The documents of each batch of rows; each batch is also put into ``sent``, to be matched with its tokens."""
    rows = iter(rows)
    while batch := list(_take_batch(rows)):
        sent.append(batch)
        yield [document for row in batch for document in row.documents]


def _naming_rows(batches: Iterator[list[Encoded]], sent: deque[list[RowDocuments]]) -> Iterator[list[Encoded]]:
    """The same batches; an error about a conversation of the batch that was sent last names its row."""
    try:
        yield from batches
    except UnencodableError as error:
        row = [row for row in sent[-1] for _ in row.documents][error.number]
        raise LwexpError(f"{row.id} (source {row.source}): {error}") from None


def _take_batch(rows: Iterator[RowDocuments]) -> Iterator[RowDocuments]:
    """The next rows, until they have ``_BATCH_CHARACTERS`` (characters are a cheap stand-in for tokens)."""
    size = 0
    while size < _BATCH_CHARACTERS and (row := next(rows, None)) is not None:
        yield row
        size += sum(len(message.content) for document in row.documents for message in document)


def _count(done: Tokenized, row: RowDocuments, documents: Sequence[Encoded], capacity: int) -> bool:
    """Account for a row; returns whether it fits."""
    lengths = [len(document.ids) for document in documents]
    targets = [int(np.count_nonzero(document.is_target)) for document in documents]
    # The hidden state before a target predicts it; every format starts with control tokens, which are not targets.
    assert not any(document.is_target[0] for document in documents), row.id
    counts = (len(documents), sum(lengths), sum(targets))
    if sum(lengths) > capacity:
        done.dropped = done.dropped.plus(*counts)
        done.num_too_long += 1
        if done.longest is None or sum(lengths) > done.longest.tokens:
            done.longest = TooLong(row.id, row.source, sum(lengths))
        return False
    done.packed = done.packed.plus(*counts)
    done.sources[row.source] = done.sources.get(row.source, Counts()).plus(*counts)
    done.lengths.extend(lengths)
    done.targets.extend(targets)
    for labels in row.labels:
        done.labels.extend(labels)
    return True


@contextmanager
def growing_array(path: Path, dtype: type[np.generic]) -> Iterator[Callable[[Integer[np.ndarray, " values"]], None]]:
    """Write a one-dimensional .npy file piece by piece; the block gets the function that appends a piece.

    The header is rewritten at the end, when the length is known. Its size does not change, because numpy pads headers
    to 128 bytes, more than the longest shape needs.
    """
    size = 0

    def write_header() -> None:
        described = np.lib.format.dtype_to_descr(np.dtype(dtype))
        header = {"descr": described, "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(out, header)

    def append(values: Integer[np.ndarray, " values"]) -> None:
        nonlocal size
        assert values.dtype == np.dtype(dtype), (values.dtype, dtype)
        out.write(np.ascontiguousarray(values).data)
        size += values.size

    with path.open("wb") as out:
        write_header()
        start = out.tell()
        yield append
        out.seek(0)
        write_header()
        assert out.tell() == start
