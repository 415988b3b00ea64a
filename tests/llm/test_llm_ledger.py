"""The ledger: what shapes a key, what survives a kill, two processes at once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lwexp.llm.ledger import Entry, Ledger, request_key
from lwexp.records import LwexpError

ENTRY = Entry("text", "stop", 10, 20, 0.25, 1)
REQUEST = {
    "model": "openai/m",
    "base_url": None,
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 10,
    "temperature": 0.5,
    "top_p": 1.0,
    "seed": 1,
}


def store(ledger: Ledger, entry: Entry) -> Entry:
    return asyncio.run(ledger.settle("k", entry, model="m", call=None))


def test_what_was_stored_is_there_after_reopening(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.get("k") is None
        store(ledger, ENTRY)
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.get("k") == ENTRY
        assert ledger.totals() == (1, 0.25, 0.0, 10, 20)


def test_the_first_writer_wins_and_the_second_answer_is_paid_for_all_the_same(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger, Ledger(tmp_path / "l.sqlite") as other:
        store(ledger, ENTRY)
        used = store(other, ENTRY._replace(text="later", cost_usd=0.5))
        assert used == ENTRY
        assert ledger.totals()[:3] == (1, 0.25, 0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "openai/n"},
        {"base_url": "http://127.0.0.1:1/v1"},
        {"messages": [{"role": "user", "content": "hi "}]},
        {"max_tokens": 11},
        {"temperature": 0.6},
        {"top_p": 0.9},
        {"seed": 2},
        {"response_format": {"type": "json_schema"}},
    ],
)
def test_everything_that_shapes_the_answer_is_in_the_key(change: dict[str, object]) -> None:
    assert request_key({**REQUEST, **change}) != request_key(REQUEST)


def test_the_order_of_fields_is_not_in_the_key() -> None:
    assert request_key(dict(reversed(REQUEST.items()))) == request_key(REQUEST)


WRITER = """
import asyncio, sys
from pathlib import Path
from lwexp.llm.ledger import Entry, Ledger
async def write():
    with Ledger(Path(sys.argv[1]), power_safe=sys.argv[4] == "power_safe") as ledger:
        for i in range(int(sys.argv[3])):
            entry = Entry("x" * 2000, "stop", 1, 1, 0.001, 1)
            await ledger.settle(f"{sys.argv[2]}{i}", entry, model="m", call=None)
            print(i, flush=True)
asyncio.run(write())
"""


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    running = [subprocess.Popen([*command, name, "200", "free"], stdout=subprocess.DEVNULL) for name in ("a", "b")]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    with Ledger(path) as ledger:
        assert ledger.totals().answers == 400


@pytest.mark.parametrize("kind", ["power_safe", "free"])
def test_an_answer_that_was_reported_survives_kill_9(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "l.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "a", "1000000", kind], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    reported = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Ledger(path) as ledger:
        assert all(ledger.get(f"a{int(line)}") is not None for line in reported)


def test_the_file_is_hardly_larger_than_its_answers(tmp_path: Path) -> None:
    text = "x" * 1_200
    with Ledger(tmp_path / "l.sqlite", power_safe=False) as ledger:

        async def write() -> None:
            for number in range(1_000):
                key = request_key({**REQUEST, "seed": number})
                await ledger.settle(key, ENTRY._replace(text=text), model="m", call=None)

        asyncio.run(write())
    assert (tmp_path / "l.sqlite").stat().st_size < 1.5 * 1_000 * len(text)


def test_a_ledger_whose_table_is_ordered_by_keys_goes_on(tmp_path: Path) -> None:
    """Versions before this layout wrote ``WITHOUT ROWID`` and other places of the columns."""
    path = tmp_path / "l.sqlite"
    with closing(sqlite3.connect(path)) as earlier, earlier:
        earlier.execute(
            "CREATE TABLE answers (key TEXT PRIMARY KEY, model TEXT NOT NULL, text TEXT NOT NULL,"
            " finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,"
            " cost_usd REAL NOT NULL, attempts INTEGER NOT NULL, created TEXT NOT NULL,"
            " reasoning TEXT NOT NULL DEFAULT '', origin TEXT NOT NULL DEFAULT '') WITHOUT ROWID"
        )
        earlier.execute(
            "INSERT INTO answers VALUES ('k', 'm', 'text', 'stop', 10, 20, 0.25, 1, '2026-01-01T00:00:00', '', '')"
        )
    earlier.close()
    with Ledger(path) as ledger:
        assert ledger.get("k") == ENTRY
        assert store(ledger, ENTRY._replace(text="later")) == ENTRY
        asyncio.run(ledger.settle("new", ENTRY._replace(reasoning="because"), model="m", call=None))
    with Ledger(path) as ledger:
        assert ledger.get("new") == ENTRY._replace(reasoning="because")
        assert ledger.totals() == (2, 0.5, 0.25, 20, 40)


def test_a_file_that_is_no_ledger_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_text("not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(LwexpError, match="cannot be used as the ledger"):
        Ledger(tmp_path / "l.sqlite")


def test_a_ledger_whose_tables_hold_other_bytes_than_text_is_one_line(tmp_path: Path) -> None:
    """SQLite's own message would hold the bytes, so Python cannot even read the message."""
    path = tmp_path / "own" / "l.sqlite"
    Ledger(path).close()
    damaged = path.read_bytes().replace(b"model TEXT NOT NULL", b"model TEXT NOT N\xc4(L")
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(LwexpError, match="cannot be used as the ledger"):
        Ledger(path)
    with Ledger(tmp_path / "other" / "l.sqlite", root=tmp_path) as ledger:
        assert ledger.get("k") is None
