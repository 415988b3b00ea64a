"""Reads the raw rows of one file, plain or packed with gzip, one at a time, each with its number.

A row that cannot be parsed is not an error here: it is yielded with its problem in place of a value. A file that
cannot be read at all is an error in one line.
"""

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

from lwexp.extend.rows import RawRow
from lwexp.mix.readers import read_csv, read_json, read_jsonl, read_parquet
from lwexp.records import LwexpError

Reader = Callable[[BinaryIO, Path], Generator[RawRow, None, None]]

_READERS: dict[str, Reader] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".parquet": read_parquet,
}
_PACKED = (".jsonl.gz", ".json.gz", ".csv.gz")
FILE_ENDINGS = (*_READERS, *_PACKED)
"""The endings of the files that can be read."""

_OTHER_ENCODINGS = {
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
    b"{\0": "is UTF-16 text; save it as UTF-8",
    b"[\0": "is UTF-16 text; save it as UTF-8",
    b"\0{": "is UTF-16 text; save it as UTF-8",
    b"\0[": "is UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "is compressed with gzip; run gunzip on it first",
    b"PK\x03\x04": "is a zip archive; unzip it first",
}
"""First bytes of files often given by mistake instead of text -> what the file is, and how to fix it."""


def can_read(path: Path) -> bool:
    """Whether the file's name has one of ``FILE_ENDINGS``."""
    return path.name.lower().endswith(FILE_ENDINGS)


def stem(path: Path) -> str:
    """The file's name without its ending; ``.gz`` is part of the ending."""
    return Path(path.stem).stem if path.name.lower().endswith(_PACKED) else path.stem


def read_file(path: Path) -> Iterator[RawRow]:
    """Yield the rows of a file with one of ``FILE_ENDINGS``.

    Raises:
        LwexpError: If the file does not exist, has another ending, or is damaged as a whole.
    """
    wanted = ", ".join(FILE_ENDINGS)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise LwexpError(f"{path} {what}; wanted a {wanted} file")
    if not can_read(path):
        raise LwexpError(f"{path}: cannot read {path.suffix or 'a file without ending'}; wanted {wanted}")
    packed = path.name.lower().endswith(_PACKED)
    ending = path.suffixes[-2 if packed else -1].lower()
    with _open(path, packed) as file:
        try:
            start = file.read(4)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise LwexpError(f"{path} is not compressed with gzip, or is damaged; take .gz off a plain file") from None
    for first_bytes, problem in _OTHER_ENCODINGS.items():
        if start.startswith(first_bytes):
            raise LwexpError(f"{path} {problem}")
    return _rows(path, packed, _READERS[ending])


def _open(path: Path, packed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def _rows(path: Path, packed: bool, reader: Reader) -> Iterator[RawRow]:
    """The rows of a file. If it is packed and its end is damaged, the last row reports that; earlier rows are kept."""
    number, unit = 0, "row"
    with _open(path, packed) as file, closing(reader(file, path)) as rows:
        try:
            for row in rows:
                yield row
                number, unit = row.number, row.unit
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            problem = f"cannot be unpacked, and nothing after it was read: {error}"
            yield RawRow(number + 1, "line" if unit == "line" else "row", None, problem)
