"""Kills ``generate_data.py teacher=local_openai``: the drafts stay the same, and only calls in flight are paid twice.

    python -m benchmarks.kills generate            200 documents, 50 kills: about ten minutes
    python -m benchmarks.kills generate --quick    24 documents, 4 kills

An undisturbed run comes first. Then the same command is killed at random moments and started again until it has
ended by itself. The server is a separate process and counts each call it worked on, even if the client was gone: a
call it worked on twice was paid for twice. It also reports which calls were open when the process died: those it had
not answered, and those it had answered at most 250 ms before, because the client may not have received the answer.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.killed_command import Command, Start, in_python
from benchmarks.output import show
from tests.llm.loopback import LoopbackServer, loopback_server

CONCURRENCY = 16
OUTPUTS = ("drafts.jsonl", "conversations.jsonl", "conversations.parquet", "draft_failures.jsonl")
_AT_START = 0.1  # share of the kills that come before the first call, while Python is still importing
_AFTER_END = 30.0  # seconds within which a killed command must have asked for something new


class Survival(NamedTuple):
    """The result of a run with kills, compared with an undisturbed run."""

    kills: int
    starts: int
    calls: int
    paid_twice: int
    paid_twice_not_open: int
    """Calls paid twice although they were not open at any kill; anything but 0 is a bug in lwexp."""
    open_at_kills: int
    most_open_at_a_kill: int
    differing_files: tuple[str, ...]


def main() -> None:
    """Run the benchmark and print it."""
    quick = "--quick" in sys.argv[1:]
    documents, kills, latency = (24, 4, 0.1) if quick else (200, 50, 0.4)
    with tempfile.TemporaryDirectory() as folder:
        found = survive(Path(folder), documents=documents, kills=kills, latency=latency, seed=int(time.time()))
    numbers = {name: float(value) for name, value in found._asdict().items() if name != "differing_files"}
    ours = {**numbers, "differing_files": float(len(found.differing_files)), "documents": float(documents)}
    show("kills", {"generate": {"ours": ours}}, ("litellm", "lwexp"))
    if found.differing_files or found.paid_twice_not_open:
        sys.exit(f"not the same: {found}")


def survive(
    folder: Path, *, documents: int, kills: int, latency: float, seed: int, started: Start = in_python
) -> Survival:
    """Run undisturbed, then with ``kills``, and compare.

    Args:
        folder: Where both runs go.
        documents: Each of 2 to 6 paragraphs.
        kills: Number of kills; there are fewer only if the command ends before.
        latency: Seconds that the server takes for an answer.
        seed: Seed for the moments of the kills.
        started: How a command is started.
    """
    start = partial(_start, started, folder)
    folder.mkdir(exist_ok=True)
    (folder / "instructions.jsonl").write_text("".join(_rows(documents)), encoding="utf-8")
    calls = sum(1 + 2 + i % 5 for i in range(documents))
    options = ("--canned", "--record", "0", "--latency", str(latency))
    with loopback_server(*options) as server:
        start("calm", server.url).wait(timeout=600)
        expected = outputs(folder / "calm")
        assert server.now()["attempts"] == calls, server.now()
        server.reset()
        killed = _killed(server, partial(start, "rough", server.url), kills, calls, random.Random(seed))
        again = server.stats()["paid_again"]
    opened = {key for keys in killed for key in keys}
    found = outputs(folder / "rough")
    return Survival(
        kills=len(killed),
        starts=len(killed) + 1,
        calls=calls,
        paid_twice=sum(again.values()),
        paid_twice_not_open=sum(times for key, times in again.items() if key not in opened),
        open_at_kills=sum(len(keys) for keys in killed),
        most_open_at_a_kill=max((len(keys) for keys in killed), default=0),
        differing_files=tuple(name for name in OUTPUTS if found.get(name) != expected.get(name)),
    )


def outputs(root: Path) -> dict[str, str]:
    """sha256 of each output of the one run under ``root``."""
    [run] = root.iterdir()
    assert json.loads((run / "manifest.json").read_text(encoding="utf-8"))["status"] == "finished", run
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in OUTPUTS}


def _killed(
    server: LoopbackServer, start: Callable[[], Command], kills: int, calls: int, draw: random.Random
) -> list[list[str]]:
    """Kill and restart the command, then let it finish. Returns the calls that were open at each kill."""
    opened: list[list[str]] = []
    while len(opened) < kills:
        process = start()
        before = server.now()["attempts"]
        if draw.random() < _AT_START:
            time.sleep(draw.uniform(0.0, 3.0))
        else:
            _wait_for_calls(server, before, process)
            # So that the run still has work to do at the last kill.
            share = (calls - server.now()["asked"]) / max(1, kills - len(opened))
            _wait_for_calls(server, before + int(draw.uniform(0, 2) * share), process)
            time.sleep(draw.uniform(0.0, 0.2))
        if process.poll() is not None:
            assert process.returncode == 0, f"the command ended with {process.returncode}"
            return opened
        process.send_signal(signal.SIGKILL)
        process.wait()
        opened.append(server.stats()["open"])
        _wait_until_quiet(server)
    assert start().wait(timeout=600) == 0
    return opened


def _wait_for_calls(server: LoopbackServer, attempts: int, process: Command) -> None:
    """Wait until the server has received more than ``attempts`` requests, or the command has ended."""
    give_up = time.monotonic() + _AFTER_END
    while server.now()["attempts"] <= attempts and process.poll() is None:
        if time.monotonic() > give_up:
            return
        time.sleep(0.01)


def _wait_until_quiet(server: LoopbackServer) -> None:
    """Wait until the server has finished the calls of the killed client, so that the next start does not see them."""
    while server.now()["in_flight"]:
        time.sleep(0.02)


def _start(started: Start, folder: Path, root: str, url: str) -> Command:
    command = [
        sys.executable, "generate_data.py", "teacher=local_openai", f"teacher.base_url={url}", "instructions=file",
        f"teacher.limits.concurrency={CONCURRENCY}", f"generate.instructions.path={folder / 'instructions.jsonl'}",
        f"root={folder / root}",
    ]  # fmt: skip
    with (folder / f"{root}.log").open("ab") as log:
        return started(command, log)


def _rows(count: int) -> list[str]:
    rows: list[dict[str, Any]] = [
        {"id": f"doc-{i:04d}", "text": f"Write a {40 * (2 + i % 5)}-word article about tea number {i}."}
        for i in range(count)
    ]
    return [json.dumps({**row, "required_words": 40 * (2 + i % 5)}) + "\n" for i, row in enumerate(rows)]
