"""A disk that takes no more is one line and exit code 2, whatever meets it first. /dev/full is such a disk."""

import errno
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.cli import exit_after
from lwexp.records import LwexpError, disk_problem
from lwexp.runs import open_run
from lwexp.runs.artifacts import Manifest
from lwexp.runs.command_line import run_command
from lwexp.runs.logs import attach_log, detach_log


def write_to_full_disk() -> None:
    with Path("/dev/full").open("w") as full:
        full.write("text")


def read_only() -> None:
    raise OSError(errno.EROFS, "Read-only file system", "/data/runs/x")


def from_rust() -> None:
    raise Exception("IoError: No space left on device (os error 28)")  # as tokenizers raises it


def while_handling_another() -> None:
    try:
        write_to_full_disk()
    except OSError:
        raise RuntimeError("unexpected pos 64 vs 0") from None


FAULTS: dict[str, tuple[Callable[[], None], str]] = {
    "full": (write_to_full_disk, "a file cannot be written: No space left on device"),
    "read-only": (read_only, "/data/runs/x cannot be written: Read-only file system"),
    "of another library": (from_rust, "a file cannot be written: No space left on device"),
    "behind another error": (while_handling_another, "a file cannot be written: No space left on device"),
}


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("shell", ["a command with a config", "a command with options"])
def test_it_is_one_line_and_exit_code_2(what: str, shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    fault, words = FAULTS[what]
    if shell == "a command with a config":
        with pytest.raises(SystemExit) as left:
            exit_after(fault)
        code = left.value.code
    else:
        code = run_command("export", ["run=x"], "usage", {"run": "x"}, lambda _: fault())
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {words}; free some space or set root=<folder>, then run the same command again"


@pytest.mark.parametrize("error", [ValueError("28"), FileNotFoundError(errno.ENOENT, "No such file", "/x")])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    def fails() -> None:
        raise error

    assert disk_problem(error) is None
    with pytest.raises(type(error)):
        exit_after(fails)


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR])
def test_a_path_that_cannot_be_used_is_one_line(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise OSError(code, os.strerror(code), Path("/x"))

    with pytest.raises(SystemExit) as left:
        exit_after(fails)
    words = f"error: /x cannot be used: {os.strerror(code)}; correct the path, or the permissions of its folders\n"
    assert (left.value.code, capsys.readouterr().err) == (2, words)


def test_a_status_that_cannot_be_written_does_not_hide_what_ended_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run("train", compose("experiment=smoke", f"root={tmp_path}"), default_name="tiny", inputs={})

    def work() -> None:
        with run:
            monkeypatch.setattr(Manifest, "write", lambda *_: write_to_full_disk())
            raise LwexpError("the ledger has no space left")

    with pytest.raises(LwexpError, match="the ledger has no space left"):
        work()
    monkeypatch.undo()
    with run:  # the lock is free, so the same command goes on
        run.leave()


def test_a_log_on_a_full_disk_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    handler = attach_log(Path("/dev/full"))
    try:
        logging.getLogger("lwexp").error("a line")
    finally:
        detach_log(handler)
    assert "Traceback" not in capsys.readouterr().err
    assert sys.exc_info() == (None, None, None)
