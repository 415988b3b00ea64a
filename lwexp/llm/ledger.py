"""The ledger: every answer that was paid for, on disk before anything uses it.

One SQLite file a run. The key of an answer is the hash of everything that shapes it, so a changed prompt asks
again, and only for itself; a repeated command replays at thousands of answers a second and never imports
litellm. Kept apart from litellm's own cache on purpose: that one has no repeat index in its key and does not
work without fastapi (litellm 1.106).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from lwexp.records import LwexpError

KEY_VERSION = 1  # raised when the meaning of a stored answer changes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_usd REAL NOT NULL,
    attempts INTEGER NOT NULL,
    created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lost_calls (
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    cost_usd REAL NOT NULL,
    created TEXT NOT NULL
);
"""


class Entry(NamedTuple):
    """A provider's answer as it came, its cost in dollars, and the tries it took."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    attempts: int


class Totals(NamedTuple):
    """What the ledger holds. ``lost_usd`` is an upper bound: a call that timed out may have been free."""

    answers: int
    cost_usd: float
    lost_usd: float
    prompt_tokens: int
    completion_tokens: int


def request_key(request: Mapping[str, object]) -> str:
    """sha256 over the canonical JSON of a request: whatever is in it can change the answer."""
    canonical = json.dumps(
        {"version": KEY_VERSION, **request}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


class Ledger:
    """Answers by key. Several processes may hold the same file open.

    Args:
        path: The SQLite file; made where it does not exist.
        power_safe: Wait for the disk after each answer, so that not even a power cut loses one (measured: 350
            a second, against 13,000 without). A ``kill -9`` loses nothing either way. Worth it for paid calls.
    """

    def __init__(self, path: Path, *, power_safe: bool = True) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
            # The log is folded into the file every 40 MB, not every 4: each time waits for the disk.
            self._db.execute("PRAGMA wal_autocheckpoint=10000")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise LwexpError(f"{path} cannot be used as the ledger: {error}; move it away to start a new one") from None

    def get(self, key: str) -> Entry | None:
        """The stored answer, or None."""
        row = self._db.execute(
            "SELECT text, finish_reason, prompt_tokens, completion_tokens, cost_usd, attempts"
            " FROM answers WHERE key = ?",
            (key,),
        ).fetchone()
        return Entry(*row) if row else None

    def put(self, key: str, entry: Entry, *, model: str) -> Entry:
        """Store an answer and return the one to use: the first stored, where another process was faster."""
        done = self._write(
            "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (key, model, *entry, _now()),
        )
        if done.rowcount:
            return entry
        self.lose(key, "asked_twice", entry.cost_usd)
        stored = self.get(key)
        assert stored is not None
        return stored

    def lose(self, key: str, reason: str, cost_usd: float) -> None:
        """Record a call that may have cost money and gave nothing: it counts against the budget."""
        self._write("INSERT INTO lost_calls VALUES (?, ?, ?, ?)", (key, reason, cost_usd, _now()))

    def totals(self) -> Totals:
        """Sums over everything stored, earlier starts of the run included."""
        answers = self._db.execute(
            "SELECT COUNT(*), TOTAL(cost_usd), TOTAL(prompt_tokens), TOTAL(completion_tokens) FROM answers"
        ).fetchone()
        lost = self._db.execute("SELECT TOTAL(cost_usd) FROM lost_calls").fetchone()
        return Totals(answers[0], answers[1], lost[0], int(answers[2]), int(answers[3]))

    def close(self) -> None:
        """Close the file; SQLite folds its write-ahead log back in."""
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise LwexpError(
                f"{self.path}: {error}; the answer could not be stored, so nothing more is asked"
            ) from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
