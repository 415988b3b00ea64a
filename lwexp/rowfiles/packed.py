"""Opens files, plain or packed with gzip, and tells files that are given by mistake from those that can be read."""

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from lwexp.records import LwexpError

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a damaged gzip file raises."""

_UTF16 = "is UTF-16 text; save it as UTF-8"
_OTHER = {
    **dict.fromkeys((b"\xff\xfe", b"\xfe\xff", b"{\0", b"[\0", b"\0{", b"\0["), _UTF16),
    GZIP: "is compressed with gzip; run gunzip on it first",
    b"PK\x03\x04": "is a zip archive; unzip it first",
}
"""First bytes of files often given by mistake instead of text -> what the file is, and how to fix it."""


def open_plain(path: Path, *, is_packed: bool) -> BinaryIO:
    """The file's plain bytes; one that is packed may raise ``DAMAGED`` while it is read."""
    return cast(BinaryIO, gzip.open(path, "rb")) if is_packed else path.open("rb")


def is_gzip(path: Path) -> bool:
    """Whether the content is packed with gzip, whatever the name says."""
    with path.open("rb") as file:
        return file.read(2) == GZIP


def refuse_other_encodings(start: bytes, origin: str) -> None:
    """Refuse a file by its first four bytes.

    Raises:
        LwexpError: Saying what the file is and how to fix it.
    """
    for first_bytes, problem in _OTHER.items():
        if start.startswith(first_bytes):
            raise LwexpError(f"{origin} {problem}")
