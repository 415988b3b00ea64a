"""Readers of JSONL, JSON, CSV and Parquet: an open file gives raw rows, one at a time, each with its number."""

import csv
import io
import json
import re
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from lwexp.extend.rows import RawRow
from lwexp.records import BadRow, LwexpError, parse_json_lines
from lwexp.text.plain import first_line

_ROWS_AT_ONCE = 256  # a long draft is about 100 KB, so a batch stays near 25 MB


def read_jsonl(file: BinaryIO, path: Path) -> Generator[RawRow, None, None]:
    """One JSON value on each line; a line that is not JSON is a broken row."""
    for item in parse_json_lines(file):
        if isinstance(item, BadRow):
            yield RawRow(item.line, "line", None, item.problem)
        else:
            yield RawRow(item[0], "line", item[1])


def read_json(file: BinaryIO, path: Path) -> Generator[RawRow, None, None]:
    """An array of rows, an object with such an array under ``data``, or an object that is the only row.

    Raises:
        LwexpError: If the file is not UTF-8, or holds something else.
    """
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LwexpError(f"{path} is not UTF-8 text: {error}; convert it first") from None
    at = _skip_space(text, 0)
    if text[at : at + 1] == "[":
        yield from _array(text, at)
        return
    try:
        value, end = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise LwexpError(f"{path} is not a JSON array of rows, and not JSON at all: {error}") from None
    if not isinstance(value, Mapping) or text[end:].strip():
        raise LwexpError(f"{path} is not a JSON array of rows; if it holds one object a line, rename it to .jsonl")
    rows = value["data"] if isinstance(value.get("data"), list) else [value]
    yield from (RawRow(number, "row", row) for number, row in enumerate(rows, start=1))


def _array(text: str, at: int) -> Iterator[RawRow]:
    """Parse an array element by element, so that the rows before a syntax error are kept."""
    decoder = json.JSONDecoder()
    at, number = _skip_space(text, at + 1), 0
    while text[at : at + 1] != "]":
        number += 1
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
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
    if text[at + 1 :].strip():
        yield RawRow(number + 1, "row", None, "is after the closing ], and nothing from there on was read")


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t"):
        at += 1
    return at


# Columns of CSV files that do not hold text. The cells of all other columns stay text, even if they look like
# numbers: an answer may well be "42".
_NOT_TEXT = frozenset({"required_words", "chosen_score", "rejected_score", "history", "label", "kto_tag"})


def read_csv(file: BinaryIO, path: Path) -> Generator[RawRow, None, None]:
    """Comma-separated columns under a header. In CSV, a list of messages is JSON text in its cell.

    Raises:
        LwexpError: If the header does not name each column, or is not separated by commas.
    """
    csv.field_size_limit(sys.maxsize)  # the default refuses answers of more than 131,072 characters
    # A byte that is not UTF-8 becomes a lone surrogate here, so that only its own row is lost.
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(lines, strict=True)
    number = 0
    try:
        header = _checked(next(rows, []), path)
        for cells in rows:
            if cells:
                number += 1
                yield _csv_row(number, header, cells)
    except csv.Error as error:
        if not number:
            raise LwexpError(f"{path} is not CSV: {error}") from None
        yield RawRow(number + 1, "row", None, f"is not CSV, and nothing after it was read: {error}")
    finally:
        lines.detach()  # the caller closes the file


def _checked(header: list[str], path: Path) -> list[str]:
    other = next((mark for mark in (";", "\t", "|") if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        raise LwexpError(f"{path}: columns are separated by {other!r}; wanted commas")
    if not all(header) or len(set(header)) < len(header):
        raise LwexpError(f"{path}: the header is {', '.join(map(repr, header))}; wanted one name for each column")
    return header


_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes as surrogateescape keeps them


def _csv_row(number: int, header: list[str], cells: list[str]) -> RawRow:
    if len(cells) != len(header):
        return RawRow(number, "row", None, f"is not CSV: it has {len(cells)} cells, and the header has {len(header)}")
    if any(_NOT_UTF8.search(cell) for cell in cells):
        return RawRow(number, "row", None, "is not UTF-8 text; convert the file first")
    return RawRow(number, "row", {name: _cell(name, text) for name, text in zip(header, cells, strict=True)})


def _cell(name: str, text: str) -> object:
    if name in _NOT_TEXT and not text:
        return None
    if name not in _NOT_TEXT and not text.lstrip().startswith("["):
        return text
    try:
        value: object = json.loads(text.lower() if text in ("True", "False", "TRUE", "FALSE") else text)
    except (ValueError, RecursionError):
        return text
    return value if name in _NOT_TEXT or _are_messages(value) else text


def _are_messages(value: object) -> bool:
    items = value if isinstance(value, list) else []
    return bool(items) and all(isinstance(item, Mapping) and ("role" in item or "from" in item) for item in items)


# Text that is not UTF-8, a date that is out of range, a time zone that is unknown.
_NO_PYTHON_VALUE = (ValueError, OverflowError, LookupError)


def read_parquet(file: BinaryIO, path: Path) -> Generator[RawRow, None, None]:
    """The rows of a Parquet file. Cells that Python cannot hold break their row, unless they are dates or times.

    Raises:
        LwexpError: If the file is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(file, page_checksum_verification=True).iter_batches(batch_size=_ROWS_AT_ONCE)
    except (pa.ArrowException, OSError) as error:
        raise LwexpError(f"{path} is not a Parquet file: {first_line(error)}") from None
    number = 0
    try:
        for batch in batches:
            for value, problem in _parquet_rows(batch):
                number += 1
                yield RawRow(number, "row", value, problem)
    except (pa.ArrowException, OSError) as error:
        yield RawRow(number + 1, "row", None, f"is damaged, and nothing after it was read: {first_line(error)}")


def _parquet_rows(batch: Any) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
    """Each row of a record batch, or its problem; cell by cell only where the batch as a whole cannot be converted."""
    import pyarrow as pa

    try:
        whole = batch.to_pylist()
    except _NO_PYTHON_VALUE:
        whole = None
    if whole is not None:
        yield from ((row, None) for row in whole)
        return
    for index in range(batch.num_rows):
        row: dict[str, Any] = {}
        problem = None
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                row[name] = column[index].as_py()
            except _NO_PYTHON_VALUE as error:
                row[name] = None
                if not pa.types.is_temporal(column.type):  # no format reads dates and times
                    problem = f"{name} cannot be read: {first_line(error)}"
        yield (row, None) if problem is None else (None, problem)
