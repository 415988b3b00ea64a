"""The ledger: every paid answer, on disk before it is used.

One SQLite file per run. An answer's key is the hash of everything that shapes it, so only a changed request is sent
again; a repeated command replays thousands of answers per second and never imports litellm. litellm's own cache is not
used: its key has no repeat index, and it needs fastapi (litellm 1.106).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.ledger_file import DAMAGED, ENTRY, INSERT, SCHEMA, Entry, OtherLedgers, Totals, add_columns
from lwexp.records import LwexpError

__all__ = ["Entry", "Ledger", "Totals", "open_ledger", "request_key"]

KEY_VERSION = 1  # raised when the meaning of a stored answer changes

_LOOPBACK = re.compile(r"^(https?://)(?:localhost|\[::1\])(?=[:/]|$)", re.IGNORECASE)

_Statement = tuple[str, tuple[object, ...]]


def request_key(request: Mapping[str, object]) -> str:
    """sha256 of the canonical JSON of a request, which holds everything that can change the answer.

    All names of this machine (localhost, ::1) count as one address.
    """
    if isinstance(address := request.get("base_url"), str):
        request = {**request, "base_url": _LOOPBACK.sub(r"\g<1>127.0.0.1", address)}
    canonical = json.dumps(
        {"version": KEY_VERSION, **request}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


class Ledger:
    """Answers by key. Several processes may hold the same file open.

    Every write is one transaction of a write-ahead log, so a ``kill -9`` at any moment loses no stored answer.

    Args:
        path: The SQLite file; made if it does not exist.
        power_safe: Wait for the disk before an answer is used (``synchronous=FULL``), for answers that cost money. This
            takes about 3 ms, so answers that arrive together wait together, in a thread, while calls continue. False
            (``NORMAL``) never waits, and a power cut may lose the last seconds; right for free answers.
        root: Folder of other runs. An answer in one of their ledgers of the same name is copied, not paid again. None
            looks at no other run.
    """

    def __init__(self, path: Path, *, power_safe: bool = True, root: Path | None = None) -> None:
        self.path = path
        self._elsewhere = OtherLedgers(path, root)
        self._power_safe = power_safe
        self.copied: Counter[str] = Counter()  # run -> answers taken from its ledger
        self._writing = threading.Lock()
        self._waiting: list[tuple[Sequence[_Statement], asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        opened: list[sqlite3.Connection] = []
        try:
            # Two connections: with a write-ahead log, readers never wait for writers.
            for _ in range(2):
                opened.append(sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False))
            self._db, self._writer = opened
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
            # A checkpoint every 40 MB instead of 4, because each one waits for the disk.
            self._writer.execute("PRAGMA wal_autocheckpoint=10000")
            self._writer.executescript(SCHEMA)
            add_columns(self._writer)
        except DAMAGED as error:
            for connection in opened:
                connection.close()
            fix = "free some space" if "full" in str(error) else "move it away to start a new one"
            raise LwexpError(f"{path} cannot be used as the ledger: {error}; {fix}") from None

    def get(self, key: str) -> Entry | None:
        """The stored answer, or None."""
        row = self._one(f"SELECT {ENTRY} FROM answers WHERE key = ?", (key,))
        if row:
            return Entry(*row)
        found = self._elsewhere.get(key)
        if found is None:
            return None
        origin, model, entry = found
        self.copied[origin] += 1
        # The copy keeps its cost and names the run that paid, so that no other run counts it as spent.
        values = (key, model, *entry, _now(), origin)
        self._commit([[(f"{INSERT}, origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", values)]])
        return entry

    async def open_call(self, key: str, worst_usd: float) -> str | None:
        """Record that a call is about to be sent, so that its possible cost survives a kill.

        Returns:
            Id with which ``settle`` or ``lose`` closes the call; None for a free call.
        """
        if not worst_usd:
            return None
        call = secrets.token_hex(8)
        await self._soon([("INSERT INTO open_calls VALUES (?, ?, ?, ?)", (call, key, worst_usd, _now()))])
        return call

    async def settle(self, key: str, entry: Entry, *, model: str, call: str | None) -> Entry:
        """Store an answer, close its open call, and return the answer to use.

        Answers that arrive while the disk is busy are stored together. If another process has already stored an answer
        to the same request, that answer is returned.
        """
        # Shielded: an answer that has arrived is stored even if the caller is cancelled.
        await asyncio.shield(asyncio.ensure_future(self._soon(_settlement(key, entry, model, call))))
        stored = self.get(key)
        assert stored is not None
        return stored

    def lose(self, key: str, reason: str, cost_usd: float, *, call: str | None = None) -> None:
        """Close a call without an answer. Its possible cost counts against the budget."""
        statements: list[_Statement] = []
        if cost_usd:
            statements.append(("INSERT INTO lost_calls VALUES (?, ?, ?, ?)", (key, reason, cost_usd, _now())))
        if call is not None:
            statements.append(("DELETE FROM open_calls WHERE id = ?", (call,)))
        if statements:
            self._commit([statements])

    def totals(self) -> Totals:
        """Sums over everything stored, including earlier starts of the run."""
        answers = self._one(
            "SELECT COUNT(*), TOTAL(iif(origin = '', cost_usd, 0)), TOTAL(prompt_tokens), TOTAL(completion_tokens)"
            " FROM answers"
        )
        lost = self._one("SELECT (SELECT TOTAL(cost_usd) FROM lost_calls) + (SELECT TOTAL(worst_usd) FROM open_calls)")
        return Totals(answers[0], answers[1], lost[0], int(answers[2]), int(answers[3]))

    def close(self) -> None:
        """Close the file; SQLite merges its write-ahead log into it."""
        with self._writing:
            self._db.close()
            self._writer.close()
            self._elsewhere.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _soon(self, statements: Sequence[_Statement]) -> None:
        """Commit statements, batched with others that are waiting for the disk."""
        if not self._power_safe:
            self._commit([statements])
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((statements, done))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._commit_waiting())
        await done

    async def _commit_waiting(self) -> None:
        """Commit everything that waits. Each waiting call gets its outcome; without one, the run would hang."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                errors = await asyncio.to_thread(self._commit_each, [statements for statements, _ in batch])
            except BaseException as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(_not_stored(self.path, error))
                if not isinstance(error, Exception):
                    raise
                continue
            for (_, done), failed in zip(batch, errors, strict=True):
                if done.cancelled():
                    continue
                if failed is None:
                    done.set_result(None)
                else:
                    done.set_exception(failed)

    def _commit_each(self, groups: Sequence[Sequence[_Statement]]) -> list[LwexpError | None]:
        """Commit all in one transaction; if that fails, commit each alone, so that the others are not lost."""
        try:
            self._commit(groups)
        except LwexpError as error:
            if len(groups) == 1:
                return [error]
            return [failed for group in groups for failed in self._commit_each([group])]
        return [None] * len(groups)

    def _commit(self, groups: Sequence[Sequence[_Statement]]) -> None:
        with self._writing:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                for statement, values in (item for group in groups for item in group):
                    self._writer.execute(statement, values)
                self._writer.execute("COMMIT")
            except Exception as error:  # SQLite's own errors, and Python's for a text or number that SQLite refuses
                with contextlib.suppress(sqlite3.Error):
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                raise _not_stored(self.path, error) from None

    def _one(self, query: str, values: tuple[object, ...] = ()) -> Any:
        """The first row of a query, or None."""
        try:
            return self._db.execute(query, values).fetchone()
        except DAMAGED as error:
            raise LwexpError(f"{self.path} cannot be read: {error}; move it away to start a new one") from None


def _not_stored(path: Path, error: BaseException) -> LwexpError:
    reason = str(error) or type(error).__name__
    return LwexpError(f"{path}: {reason}; the answer could not be stored, so nothing more is asked")


def open_ledger(path: Path, endpoint: Endpoint, *, root: Path | None) -> Ledger:
    """The ledger of a run that asks an endpoint.

    Args:
        path: The SQLite file.
        endpoint: A free one (the offline stand-in) waits for no disk and reads no other run's ledger.
        root: Folder of the runs that share their paid answers; None shares with no run.
    """
    return Ledger(path, power_safe=not endpoint.is_free, root=None if endpoint.is_free else root)


def _settlement(key: str, entry: Entry, model: str, call: str | None) -> list[_Statement]:
    """Store the answer, or count its cost as lost if another process has stored one; close the open call."""
    statements: list[_Statement] = [
        (
            f"{INSERT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (key, model, *entry, _now()),
        ),
        (
            "INSERT INTO lost_calls SELECT ?, 'asked_twice', ?, ? WHERE changes() = 0",
            (key, entry.cost_usd, _now()),
        ),
    ]
    if call is not None:
        statements.append(("DELETE FROM open_calls WHERE id = ?", (call,)))
    return statements


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
