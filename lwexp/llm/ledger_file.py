"""The ledger file: its tables and rows, and reading the ledgers of other runs."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Answers are stored in the order in which they come. A table ordered by its keys, which are hashes (WITHOUT ROWID, as
# in earlier versions), rewrites one page for each answer, and adds a page for each text above 1 KB. The texts are the
# last columns, so that sums do not read long ones.
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY NOT NULL,
    model TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    attempts INTEGER NOT NULL,
    created TEXT NOT NULL,
    origin TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL,
    reasoning TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS lost_calls (
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    cost_usd REAL NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS open_calls (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    worst_usd REAL NOT NULL,
    created TEXT NOT NULL
);
"""

DAMAGED = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises for a damaged file; the second where its own message would hold the damaged bytes."""
# Columns that are missing in ledgers of earlier versions.
_NEW_COLUMNS = dict.fromkeys(("reasoning", "origin"), "TEXT NOT NULL DEFAULT ''")
ENTRY = "text, finish_reason, prompt_tokens, completion_tokens, cost_usd, attempts, reasoning"
INSERT = f"INSERT INTO answers (key, model, {ENTRY}, created"


class Entry(NamedTuple):
    """A provider's answer, its cost in dollars, the number of tries, and its reasoning."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    attempts: int
    reasoning: str = ""


class Totals(NamedTuple):
    """Sums over a ledger. ``cost_usd`` is what its own run paid; answers copied from other runs add no cost.

    ``lost_usd`` is an upper bound: a call that timed out, or was in flight when its process was killed, may have been
    free.
    """

    answers: int
    cost_usd: float
    lost_usd: float
    prompt_tokens: int
    completion_tokens: int


class OtherLedgers:
    """Ledgers of other runs, read only. A ledger that cannot be read is passed over.

    Args:
        path: The run's own ledger.
        root: Folder of the runs; None for no other runs.
    """

    def __init__(self, path: Path, root: Path | None) -> None:
        self._path = path
        self._root = root
        self._open: dict[str, sqlite3.Connection] | None = None

    def get(self, key: str) -> tuple[str, str, Entry] | None:
        """The name of the run that has the answer, the model and the answer; None if no run has."""
        if self._open is None:
            self._open = dict(self._connections())
        for name, db in self._open.items():
            with contextlib.suppress(*DAMAGED):
                row = db.execute(f"SELECT model, {ENTRY} FROM answers WHERE key = ?", (key,)).fetchone()
                if row:
                    return name, row[0], Entry(*row[1:])
        return None

    def close(self) -> None:
        for db in (self._open or {}).values():
            db.close()

    def _connections(self) -> Iterator[tuple[str, sqlite3.Connection]]:
        if self._root is None:
            return
        for path in sorted(self._root.glob(f"*/{self._path.name}")):
            if path.parent.resolve() == self._path.parent.resolve():
                continue
            with contextlib.suppress(*DAMAGED):
                uri = f"{path.resolve().as_uri()}?mode=ro"
                yield path.parent.name, sqlite3.connect(uri, uri=True, timeout=1, check_same_thread=False)


def add_columns(db: sqlite3.Connection) -> None:
    """Add missing columns to a ledger of an earlier version. Another process may do the same at the same moment."""
    there = {row[1] for row in db.execute("PRAGMA table_info(answers)")}
    for name, kind in _NEW_COLUMNS.items():
        if name not in there:
            with contextlib.suppress(sqlite3.OperationalError):
                db.execute(f"ALTER TABLE answers ADD COLUMN {name} {kind}")
