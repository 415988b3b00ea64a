"""JSONL files with one row per step. A resumed run drops the rows of steps that it repeats."""

import json
from pathlib import Path
from typing import Any

from lwexp.records import write_text
from lwexp.runs.ranks import is_rank_zero
from lwexp.runs.summaries import read_metrics


def cut_metrics(path: Path, step: int) -> dict[str, Any] | None:
    """Drop the rows after ``step`` and return the last row that is kept, or None."""
    kept = [row for row in read_metrics(path) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept[-1] if kept else None


class RowFile:
    """Appends rows to a file, on rank 0 only.

    Args:
        path: The file.
        done: Steps already done; rows of later steps are dropped.
    """

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        self.last = cut_metrics(path, done) if is_rank_zero() else None
        """The last row that was kept when the file was opened; None if there is none, and on ranks other than 0."""

    def write(self, row: dict[str, Any]) -> None:
        if is_rank_zero():
            with self._path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(row) + "\n")
