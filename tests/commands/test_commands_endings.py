"""Each command ends with a true exit code and at most one line, whatever standard output and error are."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lwexp import commands
from lwexp.records import LwexpError, exit_code

SHOWN = ["--help", "--version", "report --help", "runs --help", "export --help", "train --help"]
BY_ARGPARSE = ["sweep --help", "sweep status --help"]
# Without a buffer the failed write happens inside argparse, which ignores it.
BUFFERED = [*((words, "") for words in [*SHOWN, *BY_ARGPARSE]), *((words, "1") for words in SHOWN)]


def run(words: str, streams: str, tmp_path: Path) -> tuple[int, str]:
    command = f"{sys.executable} -m lwexp {words} {streams}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(("words", "unbuffered"), BUFFERED)
def test_a_full_standard_output_is_one_line(
    words: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    code, said = run(words, ">/dev/full", tmp_path)
    assert (code, said.count("\n")) == (2, 1)
    assert said == (
        "error: standard output cannot be written: No space left on device; free some space or send it elsewhere\n"
    )


@pytest.mark.parametrize(("words", "unbuffered"), BUFFERED)
def test_a_reader_that_has_left_is_no_error(
    words: str, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    assert run(words, "| true; exit ${PIPESTATUS[0]}", tmp_path) == (141, "")


@pytest.mark.parametrize("words", ["--help", "report --help", "train --help"])
def test_closed_streams_are_no_error(words: str, tmp_path: Path) -> None:
    assert run(words, "<&- >&-", tmp_path) == (0, "")
    assert run(words, "<&- >&- 2>&-", tmp_path) == (0, "")


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", "2> >(true)"])
@pytest.mark.parametrize("words", ["nothing", "train seed=x"])
def test_a_lost_standard_error_changes_no_exit_code(words: str, streams: str, tmp_path: Path) -> None:
    assert run(words, streams, tmp_path)[0] == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_name_that_the_output_cannot_encode_is_escaped(encoding: str, tmp_path: Path) -> None:
    script = (
        "from lwexp.records import exit_code\n"
        "exit_code(lambda: print('\\u8336 \\udcff'), again='')\n"  # tea, and a file name's byte that is not UTF-8
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    shown = "\u8336" if encoding == "utf-8" else "\\u8336"
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{shown} \\udcff\n", b"")


def interrupted() -> None:
    raise KeyboardInterrupt


def refused() -> None:
    raise LwexpError("first", "second")


def refused_name() -> None:
    raise LwexpError("a\n\x1b[31m\u2028b\t\u3000c.jsonl: not found")


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        (lambda: None, 0, ""),
        (lambda: 1, 1, ""),
        (interrupted, 130, "interrupted; run the same command again\n"),
        (refused, 2, "error: first\nerror: second\n"),
        (refused_name, 2, "error: a\\n\\x1b[31m\\u2028b\t\u3000c.jsonl: not found\n"),
    ],
)
def test_a_command_without_a_config_ends_like_the_others(
    work: Callable[[], int | None], code: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("lwexp.commands.runs.main", lambda _: work())
    monkeypatch.setattr(sys, "argv", ["lwexp", "runs"])
    with pytest.raises(SystemExit) as left:
        commands.main()
    assert (left.value.code, capsys.readouterr().err) == (code, said)


def test_a_full_disk_is_not_blamed_on_a_standard_output_that_works(capfd: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert exit_code(full, again="") == 2
    assert capfd.readouterr().err.startswith("error: a file cannot be written: No space left on device; ")


def test_a_fault_of_lwexp_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0, again="")
