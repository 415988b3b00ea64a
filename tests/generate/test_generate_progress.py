"""The numbers of the progress display, calculated by hand, and what Ctrl-C shows, pressed once and twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lwexp.config.folders import REPOSITORY
from lwexp.generate.progress import Progress
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.records import Conversation, Failure, read_rows
from lwexp.runs import RunDirectory
from tests import forked


def answer(tokens: int, *, from_ledger: bool = False) -> Answer:
    return Answer("t", "stop", 1, tokens, 0.0, from_ledger)


def test_the_numbers_of_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten calls in all. After 10 s five are settled, two of them replayed: $1 becomes $2; three fresh in 10 s."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    progress = Progress([4, 6])
    clock[0] = 10.0
    progress.called(0, answer(100, from_ledger=True), 0.2)
    progress.called(0, answer(100, from_ledger=True), 0.2)
    progress.called(0, answer(150), 0.5)
    progress.ended(0, Failure(id="a", stage="clean", reason="too_short", detail="", attempts=1))
    progress.called(1, NoAnswer("length", "cut", 1, partial=answer(50)), 1.0)
    assert progress.share == pytest.approx(0.5)
    assert progress.projected_usd == pytest.approx(2.0)
    assert progress.tokens_per_second == pytest.approx(20.0)
    assert progress.seconds_left == pytest.approx(0.5 / 0.3 * 10)
    assert str(progress) == ("1 of 2 done (1 too short), 0 in flight, $1.00 of about $2.00, 20 tokens/s, 0:17 left")


def test_a_document_of_more_calls_than_expected_never_passes_its_share() -> None:
    progress = Progress([2, 2])
    for _ in range(5):
        progress.called(0, answer(1), 0.0)
    assert progress.share == pytest.approx(0.5)


def start(root: Path, url: str) -> forked.Process:
    """32 documents of several calls each, four at a time, each call 0.5 s."""
    command = [
        sys.executable, "generate_data.py", f"root={root}", "teacher=local_openai", f"teacher.base_url={url}",
        "teacher.limits.concurrency=4", "generate.instructions.count=32", "generate.instructions.required_words=[60]",
    ]  # fmt: skip
    return forked.Process(command, cwd=REPOSITORY)


def wait_for_answers(root: Path, count: int) -> Path:
    for _ in range(1200):
        for path in root.glob("*/ledger.sqlite"):
            try:
                with closing(sqlite3.connect(path)) as ledger, ledger:
                    if ledger.execute("SELECT COUNT(*) FROM answers").fetchone()[0] >= count:
                        return path.parent
            except sqlite3.OperationalError:
                pass
        time.sleep(0.05)
    raise AssertionError("the run wrote nothing")


def wait_for_calls_in_flight(url: str) -> None:
    for _ in range(1200):
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/now", timeout=10) as reply:
            if json.load(reply)["in_flight"]:
                return
        time.sleep(0.05)
    raise AssertionError("no call reached the server")


def test_ctrl_c_once_drains_and_exports_what_is_finished(start_server: Callable[..., str], tmp_path: Path) -> None:
    process = start(tmp_path, start_server("--latency", "0.3"))
    path = wait_for_answers(tmp_path, 24)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "waiting for the calls in flight; press Ctrl-C again to leave at once" in said
    assert "exported to" in said
    assert "run the same command again to go on" in said
    exported = list(read_rows(path / "conversations.jsonl", Conversation))
    assert 0 < len(exported) < 32
    assert RunDirectory.load(path).manifest.status == "interrupted"


def test_ctrl_c_twice_leaves_at_once(start_server: Callable[..., str], tmp_path: Path) -> None:
    """Calls of 300 s are in flight: once would wait for them, twice does not."""
    url = start_server("--latency", "300")
    process = start(tmp_path, url)
    wait_for_calls_in_flight(url)
    os.kill(process.pid, signal.SIGINT)
    process.wait_for("press Ctrl-C again")
    assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=90)
    assert process.returncode == 130, said
    assert "nothing to export yet" in said
