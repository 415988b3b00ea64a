"""Files of a run that may be missing, torn or of an older version: read what can be read, and note the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lwexp.records import BadRow, Row, scan_rows
from lwexp.text.plain import one_line

R = TypeVar("R", bound=Row)


def rows_of(path: Path, row_type: type[R], run_id: str, notes: list[str]) -> list[R]:
    """Readable rows of a file that may be missing or torn; what cannot be read is counted in a note."""
    if not path.is_file():
        return []
    rows: list[R] = []
    bad: list[BadRow] = []
    for item in scan_rows(path, row_type):
        if isinstance(item, BadRow):
            bad.append(item)
        else:
            rows.append(item)
    if bad:
        first = one_line(f"line {bad[0].line}: {bad[0].problem}", 200)
        notes.append(f"{run_id}: {len(bad):,} unreadable lines in {path.name} are ignored (first: {first}).")
    return rows
