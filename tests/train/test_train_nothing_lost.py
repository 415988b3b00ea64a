"""Whatever ends a run, at most the steps of one checkpoint interval are done again. Real processes, real signals."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from lwexp.runs.summaries import read_metrics
from tests import ROOT, forked
from tests.train.test_train_resume import assert_same
from tests.train.tiny_packs import TINY, tiny_config, tiny_conversations, train_in

pytestmark = pytest.mark.slow

STEPS = 36
PAUSE = 0.05
INTERVAL = 0.4
OPTIONS = (
    f"objective.max_steps={STEPS}", "objective.optimizer.lr=0.01", f"training.checkpoint_every_minutes={INTERVAL / 60}",
)  # fmt: skip


class Ended(NamedTuple):
    """A run that has ended, in whatever way."""

    run: Path
    code: int
    said: str
    """What it wrote to stderr."""

    @property
    def seconds(self) -> dict[int, float]:
        """When each step was done."""
        return {row["step"]: row["seconds"] for row in read_metrics(self.run / "metrics.jsonl")}

    @property
    def saved(self) -> int:
        """Steps that the newest checkpoint holds."""
        names = [path.name for path in (self.run / "checkpoints").glob("step-*") if path.suffix != ".tmp"]
        return int(max(names).removeprefix("step-")) if names else 0


class Process:
    """A run in another process."""

    def __init__(self, root: Path, *options: str, **mishaps: Any) -> None:
        self._root = root
        overrides = (f"root={root}", *TINY, *OPTIONS, *options)
        command = [sys.executable, "-m", "tests.train.stopped_run", json.dumps({"pause": PAUSE, **mishaps}), *overrides]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = forked.Process(command, env=environment)

    def tell(self, number: signal.Signals, after: int) -> None:
        """Send a signal once that many steps are done."""
        deadline = time.monotonic() + 240
        while not any(len(read_metrics(path)) >= after for path in self._root.glob("*/metrics.jsonl")):
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        self._process.send_signal(number)

    def end(self) -> Ended:
        said = self._process.communicate()[1]
        assert self._process.returncode is not None
        (run,) = self._root.iterdir()
        return Ended(run, self._process.returncode, said)


def go_on(root: Path, whole: Path) -> str:
    """The same command again, to the end; gives the log, after a look at curve and weights."""
    run = train_in(tiny_config(root, *OPTIONS), rows=tiny_conversations()).path
    assert_same(run, whole)
    assert not (run / "checkpoints").exists()
    return str((run / "log.txt").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing has stopped."""
    torch.set_num_threads(1)
    return Path(train_in(tiny_config(tmp_path_factory.mktemp("whole"), *OPTIONS), rows=tiny_conversations()).path)


def test_kill_9_costs_at_most_the_time_between_two_checkpoints(tmp_path: Path, whole: Path) -> None:
    process = Process(tmp_path)
    process.tell(signal.SIGKILL, after=24)
    ended = process.end()
    assert ended.code == -signal.SIGKILL
    last = max(ended.seconds)
    assert 0 < ended.saved <= last
    # The clock is read after each step, and a step that a signal meets is not saved: two steps on top.
    longest = max(b - a for a, b in zip(ended.seconds.values(), list(ended.seconds.values())[1:], strict=False))
    assert ended.seconds[last] - ended.seconds[ended.saved] <= INTERVAL + 2 * longest
    assert f"{ended.saved} of {STEPS} steps done" in go_on(tmp_path, whole)


def test_without_checkpoints_by_time_kill_9_costs_all(tmp_path: Path, whole: Path) -> None:
    """Negative control."""
    process = Process(tmp_path, "training.checkpoint_every_minutes=null")
    process.tell(signal.SIGKILL, after=24)
    assert process.end().saved == 0


@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "preempted")]
)
def test_a_signal_saves_at_the_end_of_the_step(
    number: signal.Signals, code: int, status: str, tmp_path: Path, whole: Path
) -> None:
    process = Process(tmp_path, "training.checkpoint_every_minutes=null")
    process.tell(number, after=10)
    ended = process.end()
    assert ended.code == code
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert f"{name} at step {ended.saved}; saved; run the same command again to go on\n" in ended.said
    assert "Traceback" not in ended.said
    assert 10 <= ended.saved == max(ended.seconds) < STEPS
    assert json.loads((ended.run / "manifest.json").read_text())["status"] == status
    assert f"{ended.saved} of {STEPS} steps done" in go_on(tmp_path, whole)


def test_a_second_ctrl_c_leaves_at_once_and_says_what_is_lost(tmp_path: Path, whole: Path) -> None:
    """In step 13, which would take a minute. The same press, which a launcher passes on, does not count twice."""
    process = Process(
        tmp_path, "training.checkpoint_every_minutes=null", "training.checkpoint_every_steps=10", long={13: 60}
    )
    process.tell(signal.SIGINT, after=12)
    process.tell(signal.SIGINT, after=12)
    time.sleep(2.5)
    assert process._process.poll() is None  # it waits for the end of the step
    began = time.monotonic()
    process.tell(signal.SIGINT, after=12)
    ended = process.end()
    assert time.monotonic() - began < 15
    assert ended.code == 130
    assert "Ctrl-C once more leaves at once, without saving" in (ended.run / "log.txt").read_text()
    lost = "Ctrl-C after step 12: step 10 is saved, and steps 11 to 12 will be done again"
    assert f"{lost}; run the same command again to go on\n" in ended.said
    assert "Traceback" not in ended.said
    assert json.loads((ended.run / "manifest.json").read_text())["status"] == "interrupted"
    assert f"10 of {STEPS} steps done" in go_on(tmp_path, whole)


def test_a_failed_export_is_repeated_and_no_step_is_trained_again(tmp_path: Path, whole: Path) -> None:
    ended = Process(tmp_path, "training.checkpoint_every_minutes=null", full="export", pause=0).end()
    assert ended.code == 2
    (error,) = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    assert re.search(
        r"cannot write the model to .*: .*\S; free some space and rerun the command; no step is trained again", error
    )
    assert "Traceback" not in ended.said
    assert ended.saved == STEPS
    assert not (ended.run / "model").exists()
    rows = (ended.run / "metrics.jsonl").read_bytes()
    assert f"{STEPS} of {STEPS} steps done" in go_on(tmp_path, whole)
    assert (ended.run / "metrics.jsonl").read_bytes() == rows


def test_a_full_disk_costs_the_steps_since_the_checkpoint_before(tmp_path: Path, whole: Path) -> None:
    by_steps = ("training.checkpoint_every_minutes=null", "training.checkpoint_every_steps=10")
    ended = Process(tmp_path, *by_steps, full=20, pause=0).end()
    assert ended.code == 2
    (error,) = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    assert re.search(r"cannot write the checkpoint of step 20 to .*: File too large; earlier ones are intact", error)
    assert "Traceback" not in ended.said
    assert [path.name for path in (ended.run / "checkpoints").iterdir()] == ["step-00000010"]
    assert f"10 of {STEPS} steps done" in go_on(tmp_path, whole)
