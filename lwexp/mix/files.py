"""Reads raw rows from files, folders and hub data sets, one at a time, each with its number.

A row that cannot be parsed is not an error here: it is yielded with its problem in place of a value.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lwexp.extend.rows import RawRow
from lwexp.records import BadRow, LwexpError, scan_json_lines
from lwexp.text.plain import first_line

_ROWS_AT_ONCE = 256  # a long draft is about 100 KB, so a batch stays near 25 MB


def read_file(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a .jsonl, .json or .parquet file.

    Raises:
        LwexpError: If the file does not exist, has another ending, or is damaged as a whole.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise LwexpError(f"{path} {what}; wanted a {', '.join(_READERS)} file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise LwexpError(f"{path}: cannot read {path.suffix or 'a file without ending'}; wanted {', '.join(_READERS)}")
    with path.open("rb") as file:
        start = file.read(4)
    for first_bytes, problem in _OTHER_ENCODINGS.items():
        if start.startswith(first_bytes):
            raise LwexpError(f"{path} {problem}")
    return reader(path)


_OTHER_ENCODINGS = {
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "is compressed with gzip; run gunzip on it first",
    b"PK\x03\x04": "is a zip archive; unzip it first",
}
"""First bytes of files often given by mistake instead of text -> what the file is, and how to fix it."""


def read_hub(path: str, split: str) -> Iterator[RawRow]:
    """Yield the rows of a hub set or of a local folder that ``datasets.load_dataset`` can open.

    Raises:
        LwexpError: If the set cannot be opened or has no such split.
    """
    with _datasets(f"cannot open the data set {path} (split {split})") as datasets:
        rows = datasets.load_dataset(path, split=split)
    columns = rows.column_names
    values = (row for batch in rows.iter(batch_size=_ROWS_AT_ONCE) for row in zip(*batch.values(), strict=True))
    for number, row in enumerate(values, start=1):
        yield RawRow(number, "row", dict(zip(columns, row, strict=True)))


def stream(path: str, split: str) -> Iterator[RawRow]:
    """Yield the rows of a hub set or a local folder as they arrive: nothing is kept, and reading may stop early.

    Raises:
        LwexpError: If the set cannot be opened or has no such split.
    """
    with _datasets(f"cannot read the data set {path} (split {split})") as datasets:
        for number, row in enumerate(datasets.load_dataset(path, split=split, streaming=True), 1):
            yield RawRow(number, "row", row)


def hub_fingerprint(path: str) -> str:
    """The hash by which ``datasets`` identifies a hub set's content; it changes with the commit. Loads no rows.

    Raises:
        LwexpError: If the hub cannot be reached and the set is not in the local cache.
    """
    with _datasets(f"cannot find the data set {path}", "; wanted a hub id or a local folder") as datasets:
        return str(datasets.load_dataset_builder(path).hash)


@contextmanager
def _datasets(problem: str, fix: str = "") -> Iterator[Any]:
    """Yield the package ``datasets``; an error that it raises in the block becomes a one-line ``LwexpError``."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs each error before raising it
    try:
        yield datasets
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # datasets says only that an error occurred; its cause says which
            cause = cause.__cause__
        raise LwexpError(f"{problem}: {first_line(cause)}{fix}") from None
    finally:
        datasets.logging.set_verbosity(before)


def _read_jsonl(path: Path) -> Iterator[RawRow]:
    for item in scan_json_lines(path):
        if isinstance(item, BadRow):
            yield RawRow(item.line, "line", None, item.problem)
        else:
            yield RawRow(item[0], "line", item[1])


def _read_json(path: Path) -> Iterator[RawRow]:
    """Parse an array element by element, so that the rows before a syntax error are kept."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LwexpError(f"{path} is not UTF-8 text: {error}; convert it first") from None
    at = _skip_space(text, 0)
    if text[at : at + 1] != "[":
        raise LwexpError(f"{path} is no JSON array of rows; if it holds one object a line, rename it to .jsonl")
    decoder = json.JSONDecoder()
    at, number = _skip_space(text, at + 1), 0
    while text[at : at + 1] != "]":
        number += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as error:
            yield RawRow(number, "row", None, f"is not JSON, and nothing after it was read: {error}")
            return
        yield RawRow(number, "row", value)
        at = _skip_space(text, at)
        if text[at : at + 1] == ",":
            at = _skip_space(text, at + 1)
        elif text[at : at + 1] != "]":
            line = text.count("\n", 0, at) + 1
            yield RawRow(number + 1, "row", None, f"is cut off: line {line} has no comma or ] after row {number}")
            return


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t"):
        at += 1
    return at


def _read_parquet(path: Path) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(path).iter_batches(batch_size=_ROWS_AT_ONCE)
    except pa.ArrowException as error:
        raise LwexpError(f"{path} is no Parquet file: {error}") from None
    rows = (row for batch in batches for row in batch.to_pylist())
    for number, row in enumerate(rows, start=1):
        yield RawRow(number, "row", row)


_READERS: dict[str, Callable[[Path], Iterator[RawRow]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
