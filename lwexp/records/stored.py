"""Rows that stay in their file: read anew on each pass, so that memory does not grow with them."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TypeVar

from lwexp.records.files import read_rows
from lwexp.records.rows import Row

R = TypeVar("R", bound=Row)


class StoredRows(Collection[R]):
    """The rows of a JSONL file as a collection that never holds more than one of them."""

    def __init__(self, path: Path, row_type: type[R]) -> None:
        """Name a file; it is opened by each pass over the rows, and must not change between them."""
        self.path = path
        self.row_type = row_type
        self._count: int | None = None

    def __iter__(self) -> Iterator[R]:
        """Rows in file order; a bad one is an ``LwexpError`` that names its line."""
        return read_rows(self.path, self.row_type)

    def __len__(self) -> int:
        """How many rows there are: counted once, by reading through the file."""
        if self._count is None:
            with self.path.open("rb") as lines:
                self._count = sum(1 for line in lines if line.strip())
        return self._count

    def __contains__(self, row: object) -> bool:
        """Whether a row is in the file; reads through it."""
        return any(row == mine for mine in self)
