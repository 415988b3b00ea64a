"""Reads rows of CSV and TSV files. A row is named by the line that it begins in."""

import csv
import io
import re
from collections.abc import Generator
from typing import BinaryIO

from lwexp.extend.rows import RawRow
from lwexp.records import LwexpError
from lwexp.rowfiles.limits import MAX_CELL_CHARACTERS
from lwexp.text.plain import plural

_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # bytes as surrogateescape keeps them


def read_csv(file: BinaryIO, origin: str, *, delimiter: str = ",") -> Generator[RawRow, None, None]:
    """Columns under a header. Every cell is text.

    A comma or a quote too many would cut a text short, so a row with another number of cells than the header is broken.

    Raises:
        LwexpError: If two columns have one name, or the header has another delimiter.
    """
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    # A byte that is not UTF-8 becomes a lone surrogate here, so that only its own row is lost.
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    number, line = 0, 1
    try:
        header = _checked(next(rows, []), origin, delimiter)
        line = rows.line_num + 1
        for cells in rows:
            if cells:
                number += 1
                yield _row(number, line, header, cells, delimiter)
            line = rows.line_num + 1
    except csv.Error as error:
        if not number and line == 1:
            raise LwexpError(f"{origin} is not CSV: {error}") from None
        problem = f"is not CSV, and nothing after it was read: {error}; wanted each quote in a cell doubled"
        yield RawRow(number + 1, "row", None, problem, f"line {line}")
    finally:
        if not file.closed:
            lines.detach()  # the caller closes the file


def _checked(header: list[str], origin: str, delimiter: str) -> list[str]:
    others = [mark for mark in (";", "\t", "|", ",") if mark != delimiter]
    other = next((mark for mark in others if len(header) == 1 and mark in header[0]), None)
    if other is not None:
        wanted = {",": "commas", "\t": "tabs"}[delimiter]
        raise LwexpError(f"{origin}: columns are separated by {other!r}; wanted {wanted}")
    if len(set(header)) < len(header):  # one may be empty: pandas names its index so
        raise LwexpError(f"{origin}: the header is {', '.join(map(repr, header))}; wanted one name for each column")
    return header


def _row(number: int, line: int, header: list[str], cells: list[str], delimiter: str) -> RawRow:
    problem = None
    if len(cells) != len(header):
        problem = (
            f"is not CSV: it has {plural(len(cells), 'cell')}, where the header has {len(header)}; put quotes around a "
            f"text with {delimiter!r} in it"
        )
    elif any(_NOT_UTF8.search(cell) for cell in cells):
        problem = "is not UTF-8 text; convert the file first"
    value = None if problem else dict(zip(header, cells, strict=True))
    return RawRow(number, "row", value, problem, f"line {line}")
