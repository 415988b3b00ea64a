"""Builds a folder of packs: tokenises, packs, counts every token, and puts the finished folder in place in one step."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lwexp.config.data import PackConfig
from lwexp.extend import TrainingRows
from lwexp.extend.training_rows import R
from lwexp.pack.chat import chat_of
from lwexp.pack.packing import Counts, PackReport, pack
from lwexp.pack.tokens import RowDocuments, Tokenized, documents_of, tokenize_documents
from lwexp.records import LwexpError, atomic, parse_json, write_json
from lwexp.records.checksums import write_checksums
from lwexp.runs.progress import track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger(__name__)

# Part of every fingerprint. Increase it when the same input gives different arrays than before.
FORMAT_VERSION = 2


def build_packs(
    rows: Collection[R], kind: TrainingRows[R], tokenizer: PreTrainedTokenizerFast, config: PackConfig, out: Path
) -> PackReport:
    """Tokenise and pack into the folder ``out``, or return the report of packs that are up to date.

    Args:
        rows: Read in order, up to twice: a list, or ``StoredRows``.
        kind: How rows become documents, such as ``pack.rows.PairRows()``. All documents of a row go into one pack.
        tokenizer: From ``pack.tokenizer``, with its chat format set.
        config: Capacity, and what to do with a document that exceeds it.
        out: Replaced in one step when its fingerprint (of data, tokenizer and settings) differs. One process at
            a time may build it: call on rank 0, under the run's lock.

    Raises:
        LwexpError: If there is nothing to pack, or a document is too long and ``config.overflow`` is "error".
    """
    if not len(rows):
        raise LwexpError(f"nothing to pack: the mixture has no {kind.plural}; check mixture.{kind.section}")
    if (out / "meta.json").is_file():
        mark = Fingerprint(tokenizer, config, kind)
        for row in rows:
            mark.add(documents_of(row, kind))
        try:
            meta = parse_json((out / "meta.json").read_text(encoding="utf-8"))
            is_current = meta["fingerprint"] == mark.hexdigest()
            report = PackReport.from_tree(meta["report"]) if is_current else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            log.warning("%s is damaged; the packs are built again", out / "meta.json")
            report = None
        if report is not None:
            log.info("packs in %s are up to date: %s", out, report)
            return report
    elif out.exists():
        raise LwexpError(f"{out} holds other files, but packs are written there; move it away")
    try:
        with atomic(out) as aside:
            aside.mkdir(parents=True)
            # Without earlier packs to compare with, the fingerprint is computed while packing: rows are read only once.
            mark = Fingerprint(tokenizer, config, kind)
            read = (mark.add(documents_of(row, kind)) for row in rows)
            report = _write(read, len(rows), kind, tokenizer, config, aside)
            meta = {
                "fingerprint": mark.hexdigest(), "kind": kind.kind, "chat": chat_of(tokenizer).kind,
                "report": report.to_tree(),
            }  # fmt: skip
            write_json(aside / "meta.json", meta)
            write_checksums(aside, out)
    except OSError as error:
        raise LwexpError(
            f"cannot write packs to {out}: {error.strerror or error}; free some space or set root=<folder>"
        ) from error
    log.info("packed %s", report)
    return report


class Fingerprint:
    """sha256 over everything that shapes the arrays: texts and their names, tokenizer, chat format, settings."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, config: PackConfig, kind: TrainingRows[Any]) -> None:
        chat = chat_of(tokenizer).identity
        settings = [FORMAT_VERSION, kind.kind, chat, config.max_tokens, config.overflow, config.strategy, *kind.labels]
        self._digest = hashlib.sha256(json.dumps(settings).encode())
        self._digest.update(tokenizer_fingerprint(tokenizer).encode())

    def add(self, row: RowDocuments) -> RowDocuments:
        """Include the next row, and return it."""
        parts = [row.id, row.source]
        for document in row.documents:
            parts.append(str(len(document)))
            for message in document:
                parts += (message.role, message.content)
        parts += [repr(value) for labels in row.labels for value in labels]
        # The lengths come first, so that two different lists of parts never give the same bytes.
        self._digest.update(
            f"{' '.join([str(len(part)) for part in parts])}\n{''.join(parts)}".encode(errors="surrogatepass")
        )
        return row

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """sha256 over a tokenizer's splitting rules and vocabulary; the same before and after saving."""
    whole = parse_json(tokenizer.backend_tokenizer.to_str())
    shaping = {key: whole[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def _write(
    rows: Iterable[RowDocuments],
    total: int,
    kind: TrainingRows[Any],
    tokenizer: PreTrainedTokenizerFast,
    config: PackConfig,
    folder: Path,
) -> PackReport:
    """Write the arrays and account for every token."""
    capacity, size = config.max_tokens, len(kind.endings)
    done = tokenize_documents(track(rows, "tokenising", total), tokenizer, capacity, folder, kind)
    _refuse_too_long(done, total, kind, config)
    row_lengths = np.array(done.lengths, dtype=np.int64).reshape(-1, size).sum(axis=1)
    packs = pack(row_lengths, capacity, config.strategy)
    row_numbers = np.concatenate([np.array(rows_of_pack, dtype=np.int64) for rows_of_pack in packs])
    # Numbers of rows become numbers of documents: row 3 is document 3 of conversations, documents 6 and 7 of pairs.
    documents = (row_numbers[:, None] * size + np.arange(size)).reshape(-1)
    np.save(folder / "packs.npy", documents)
    np.save(folder / "pack_offsets.npy", np.cumsum([0, *(len(rows_of_pack) * size for rows_of_pack in packs)]))
    received = done.packed.plus(done.dropped.documents, done.dropped.tokens, done.dropped.targets)
    return PackReport(
        kind=kind.kind, rows=kind.plural, documents_per_row=size, capacity=capacity, packs=len(packs),
        received=received, packed=done.packed, dropped=done.dropped, longest=int(row_lengths.max()),
        sources=done.sources,
    )  # fmt: skip


def _refuse_too_long(done: Tokenized, total: int, kind: TrainingRows[Any], config: PackConfig) -> None:
    """Raise an error if rows that are too long must not be dropped, or if dropping them leaves no row."""
    if done.longest is None or (config.overflow == "drop" and done.packed != Counts()):
        return
    words = kind.plural + (" (both answers share a pack)" if len(kind.endings) == 2 else "")
    longest = done.longest
    fixes = f"set pack.max_tokens={longest.tokens} or more"
    if config.overflow == "error":
        fixes += f", or pack.overflow=drop to continue with {total - done.num_too_long:,}"
    raise LwexpError(
        f"{done.num_too_long:,} of {total:,} {words} are longer than a pack (pack.max_tokens={config.max_tokens:,}); "
        f"the longest is {longest.id} (source {longest.source}) with {longest.tokens:,} tokens; {fixes}"
    )
