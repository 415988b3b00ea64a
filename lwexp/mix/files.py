"""Reads the raw rows of one file, plain or packed with gzip, one at a time, each with its number.

A row that cannot be parsed is not an error here: it is yielded with its problem in place of a value. A file that
cannot be read at all is an error in one line.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from lwexp.extend.rows import RawRow
from lwexp.records import LwexpError, refuse_special
from lwexp.rowfiles.csv_rows import read_csv
from lwexp.rowfiles.json_rows import read_json, read_jsonl
from lwexp.rowfiles.packed import DAMAGED, open_plain, refuse_other_encodings
from lwexp.rowfiles.parquet_rows import read_parquet

Reader = Callable[[BinaryIO, str], Generator[RawRow, None, None]]

_READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
_PACKED = (".jsonl.gz", ".json.gz", ".csv.gz")
FILE_ENDINGS = (*_READERS, *_PACKED)
"""The endings of the files that can be read."""

# Columns of CSV files that do not hold text. The cells of all other columns stay text, even if they look like
# numbers: an answer may well be "42".
_NOT_TEXT = frozenset({"required_words", "chosen_score", "rejected_score", "history", "label", "kto_tag"})


def can_read(path: Path) -> bool:
    """Whether the file's name has one of ``FILE_ENDINGS``."""
    return path.name.lower().endswith(FILE_ENDINGS)


def stem(path: Path) -> str:
    """The file's name without its ending; ``.gz`` is part of the ending."""
    return Path(path.stem).stem if path.name.lower().endswith(_PACKED) else path.stem


def read_file(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a file with one of ``FILE_ENDINGS``. Lists of messages stand in CSV cells as JSON.

    Raises:
        LwexpError: If the file does not exist, has another ending, or is damaged as a whole.
    """
    wanted = ", ".join(FILE_ENDINGS)
    refuse_special(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise LwexpError(f"{path} {what}; wanted a {wanted} file")
    if not can_read(path):
        raise LwexpError(f"{path}: cannot read {path.suffix or 'a file without ending'}; wanted {wanted}")
    packed = path.name.lower().endswith(_PACKED)
    ending = path.suffixes[-2 if packed else -1].lower()
    with open_plain(path, is_packed=packed) as file:
        try:
            start = file.read(4)
        except DAMAGED:
            raise LwexpError(f"{path} is not compressed with gzip, or is damaged; take .gz off a plain file") from None
    refuse_other_encodings(start, str(path))
    rows = _rows(path, packed, _READERS[ending])
    return map(_with_typed_cells, rows) if ending == ".csv" else rows


def _rows(path: Path, packed: bool, reader: Reader) -> Iterator[RawRow]:
    """The rows of a file. If it is packed and its end is damaged, the last row reports that; earlier rows are kept."""
    number, unit = 0, "row"
    with open_plain(path, is_packed=packed) as file, closing(reader(file, str(path))) as rows:
        try:
            for row in rows:
                yield row
                number, unit = row.number, row.unit
        except DAMAGED as error:
            problem = f"cannot be unpacked, and nothing after it was read: {error}"
            yield RawRow(number + 1, "line" if unit == "line" else "row", None, problem)


def _with_typed_cells(row: RawRow) -> RawRow:
    if not isinstance(row.value, Mapping):
        return row
    return row._replace(value={name: _cell(name, text) for name, text in row.value.items()})


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
