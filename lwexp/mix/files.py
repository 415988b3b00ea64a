"""Rows as they lie in files, folders and hub sets, one at a time, each with its number.

Reading never judges a row: what cannot even be parsed comes out as a problem, with the number it has.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

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
        raise LwexpError(f"{path} does not exist; wanted a {', '.join(_READERS)} file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise LwexpError(f"{path}: cannot read {path.suffix or 'a file without ending'}; wanted {', '.join(_READERS)}")
    return reader(path)


def read_hub(path: str, split: str) -> Iterator[RawRow]:
    """Yield the rows of a hub set or of a local folder that ``datasets.load_dataset`` can open.

    Raises:
        LwexpError: If it cannot be opened or has no such split.
    """
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(path, split=split)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise LwexpError(f"cannot open the data set {path} (split {split}): {_reason(error)}") from None
    number = 0
    for batch in rows.iter(batch_size=_ROWS_AT_ONCE):
        columns = list(batch)
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield RawRow(number, "row", dict(zip(columns, values, strict=True)))


def stream(path: str, split: str) -> Iterator[RawRow]:
    """Yield the rows of a hub set or a local folder as they arrive: nothing is kept, and reading may stop early.

    Raises:
        LwexpError: If it cannot be opened or has no such split.
    """
    import datasets

    try:
        rows = datasets.load_dataset(path, split=split, streaming=True)
        for number, row in enumerate(rows, 1):
            yield RawRow(number, "row", row)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise LwexpError(f"cannot read the data set {path} (split {split}): {_reason(error)}") from None


def hub_fingerprint(path: str) -> str:
    """What ``datasets`` knows a hub set's content by: it changes with the commit. Loads no rows.

    Raises:
        LwexpError: If the hub cannot be reached and the set is not in the local cache.
    """
    import datasets

    try:
        return str(datasets.load_dataset_builder(path).hash)
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise LwexpError(
            f"cannot find the data set {path}: {_reason(error)}; wanted a hub id or a local folder"
        ) from None


def _reason(error: BaseException) -> str:
    """``datasets`` says only that an error occurred, and keeps the error itself as the cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _read_jsonl(path: Path) -> Iterator[RawRow]:
    for item in scan_json_lines(path):
        if isinstance(item, BadRow):
            yield RawRow(item.line, "line", None, item.problem)
        else:
            yield RawRow(item[0], "line", item[1])


def _read_json(path: Path) -> Iterator[RawRow]:
    """Parse an array element by element, so that the rows before a syntax error survive it."""
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
