"""Progress: what its text says, when a line comes, and that a real run without a terminal prints lines."""

import io
import logging
import os
import re
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from lwexp.config.folders import REPOSITORY
from lwexp.runs import progress as module
from lwexp.runs.progress import Count, Numbers, counted, shown, track
from tests import forked


def test_the_text_has_done_total_rate_time_left_and_the_newest_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 of 100 were done before; 30 more in 60 s are 0.5 a second, so the last 50 take 100 s."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    count = Count(100, done=20)
    assert str(count) == "20 of 100"
    for _ in range(29):
        count.advance("loss 2.0000")
    count.advance("loss 1.5000")
    now[0] = 60.0
    assert str(count) == "50 of 100, 0.50/s, 1:40 left, loss 1.5000"
    assert count.share == 0.5
    now[0] = 1.0
    assert str(count) == "50 of 100, 30/s, 0:02 left, loss 1.5000"
    assert Count(0).share == 1.0


def test_lines_come_although_nothing_moves_and_end_with_the_block(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert module.SAY_EVERY_SECONDS <= 30
    monkeypatch.setattr(module, "SAY_EVERY_SECONDS", 0.02)
    caplog.set_level(logging.INFO, "lwexp")
    with counted("answers", 4) as count:
        wait_until(lambda: len(caplog.messages) >= 2)
        assert set(caplog.messages) == {"answers: 0 of 4"}
        count.advance()
        wait_until(lambda: any(line.startswith("answers: 1 of 4, ") for line in caplog.messages))
    after = len(caplog.messages)
    time.sleep(0.1)
    assert len(caplog.messages) == after


def wait_until(holds) -> None:
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come")


def test_other_ranks_say_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "SAY_EVERY_SECONDS", 0.01)
    monkeypatch.setenv("RANK", "1")
    caplog.set_level(logging.INFO, "lwexp")
    with counted("answers", 4):
        time.sleep(0.1)
    assert caplog.messages == []


def test_a_terminal_has_a_bar_with_the_same_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Half:
        share = 0.5
        numbers = Numbers()

        def __str__(self) -> str:
            return "$1.00 of about $2.00, 3 in flight"

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    monkeypatch.setattr(module, "console_of", lambda: console)
    monkeypatch.setattr(module, "_REDRAW_SECONDS", 0.01)
    with shown("documents", Half()):
        wait_until(lambda: out.getvalue().count("$1.00 of about $2.00, 3 in flight") > 1)
    assert "documents" in out.getvalue()


def test_items_are_handed_on_and_an_error_ends_the_display(caplog: pytest.LogCaptureFixture) -> None:
    assert list(track("abc", "letters", 3)) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="boom"), counted("letters", 3):
        raise ValueError("boom")


RUN = """
import sys
from lwexp.runs import progress
progress.SAY_EVERY_SECONDS = 0.02
from lwexp.commands import main
main()
"""


def test_a_real_run_without_a_terminal_prints_lines_while_it_trains_and_samples(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    said = ""
    for words in (
        ["generate", "experiment=smoke"],
        ["train", "experiment=smoke", "hardware=cpu", "hardware.threads=1", "evaluate_after=true"],
    ):
        done = forked.run([sys.executable, "-c", RUN, *words], cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        said += done.stderr
    trained = r"\d\d:\d\d:\d\d training: \d+ of \d+, [\d.,]+/s, \d+:\d\d left, loss \d+\.\d{4}, [\d,]+ tokens/s"
    assert re.search(trained, said), said
    assert re.search(r"answers: \d+ of \d+, [\d,]+ tokens/s, \d+:\d\d left", said), said
    assert [line for line in said.splitlines() if line != line.rstrip()] == []
