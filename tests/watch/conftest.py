"""A folder of runs in every state, and the page's server in a thread of the test's process."""

import fcntl
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lwexp.watch.index import Index
from lwexp.watch.server import Watch, open_server
from tests.made_runs import make_run


def write_progress(folder: Path, **more: Any) -> None:
    value = {"what": "training", "share": 0.25, "text": "10 of 40, 0:30 left", "started": "2026-01-01T00:00:05+00:00"}
    (folder / "progress.json").write_text(json.dumps(value | more))


def write_rows(folder: Path, steps: int) -> None:
    rows = [{"step": n, "loss": 4 - n / 16, "lr": 1e-5, "grad_norm": 1.0} for n in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Runs(NamedTuple):
    root: Path
    working: Path
    """A training that this process holds the lock of."""


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    root = tmp_path / "runs"
    results = {"tally": "24 = 24 kept", "conversations": 24, "calls": 1, "prompt_tokens": 1, "completion_tokens": 1}
    make_run(root, "data-1", "data", "finished", results=results | {"cost_usd": 1.5}, end="2026-01-01T01:00:00+00:00")
    make_run(root / "demo", "killed-2", "train", "running", starts=["2026-01-01T00:00:00+00:00"])
    make_run(root, "wrong-3", "evaluate", "failed", reason="LwexpError: <img src=x onerror=alert(1)>")
    starts = ["2026-01-01T00:00:00.000001+00:00"]
    working = make_run(root, "sft-4", "train", "running", starts=starts, labels={"model": "glm4"}, command="train.py")
    write_progress(working)
    write_rows(working, 10)
    (working / "log.txt").write_text("2026-01-01 00:00:01,000 WARNING lwexp: <b>bold\u202e</b>\n")
    (working / "config.json").write_text(json.dumps({"seed": 7, "objective": {"kind": "sft"}}))
    sweep = root / "sweep-lr-5"
    sweep.mkdir()
    its = [str(root / "demo" / "killed-2"), "gone-8"]
    trials = [{"number": n, "runs": its, "overrides": [f"lr={n}"], "log": "x", "label": f"lr={n}", "status": status}
              for n, status in enumerate(["finished", "failed", "running"])]  # fmt: skip
    (sweep / "trials.json").write_text(json.dumps(trials))
    with (working / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Runs(root, working)


@pytest.fixture
def address(runs: Runs) -> Iterator[tuple[str, int]]:
    with open_server(Watch(Index(runs.root)), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield "127.0.0.1", server.server_address[1]
        server.shutdown()
        thread.join()
