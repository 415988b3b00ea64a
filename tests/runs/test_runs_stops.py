"""What ends a run from outside: stop signals, a removed folder, a second host, a clock that goes back."""

import fcntl
import os
import pty
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.cli import exit_after
from lwexp.records import STOP_SIGNALS, LwexpError, Preempted, heard_signals, leave_closed_terminal, stops_raised
from lwexp.runs import RunDirectory, open_run
from lwexp.runs.artifacts import Artifact, Manifest
from lwexp.runs.command_line import run_command


@pytest.fixture(scope="module")
def config() -> object:
    return compose()


def opened(root: Path, config: object) -> RunDirectory:
    return open_run("train", config.model_copy(update={"root": str(root)}), default_name="x", inputs={})  # type: ignore[attr-defined]


def told(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # Python runs the handler between two steps of its own


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Under nohup, which these tests may run in, SIGHUP would be ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_is_one_line_a_true_status_and_exit_code_143(
    number: signal.Signals, tmp_path: Path, config: object, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with opened(tmp_path, config):
            told(number)
            raise AssertionError("went on")

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as left:
        exit_after(work)

    assert left.value.code == 143
    assert capsys.readouterr().err == f"{number.name}; run the same command again to go on\n"
    assert opened(tmp_path, config).status == "preempted"
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_commands_with_options_end_the_same_way(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("export", ["run=x"], "", {"run": "newest"}, lambda options: told(number)) == 143
    assert capsys.readouterr().err == f"{number.name}; run the same command again\n"


def test_a_second_signal_does_not_disturb_the_first(tmp_path: Path) -> None:
    ended = []

    def work() -> None:
        try:
            told(signal.SIGTERM)
        finally:
            told(signal.SIGHUP)
            ended.append("saved")

    with pytest.raises(Preempted, match="SIGTERM"), stops_raised():
        work()
    assert ended == ["saved"]


def test_nohup_keeps_a_command_running() -> None:
    """nohup starts a command with SIGHUP ignored; so it stays."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert heard_signals() == [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
        with stops_raised():
            told(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_fails_no_write_after_the_signal() -> None:
    """A file and a terminal that is open stay as they are."""
    closed, open_one = pty.openpty(), pty.openpty()
    file = os.memfd_create("output")
    os.close(closed[0])
    with pytest.raises(OSError, match="Input/output error"):
        os.write(closed[1], b"lost")
    leave_closed_terminal([closed[1], open_one[1], file])
    assert os.write(closed[1], b"lost") == 4
    os.write(open_one[1], b"seen")
    assert os.read(open_one[0], 4) == b"seen"
    assert os.write(file, b"kept") == os.fstat(file).st_size == 4
    for number in (closed[1], *open_one, file):
        os.close(number)


def test_a_command_whose_terminal_is_closed_ends_with_143(tmp_path: Path) -> None:
    """As a progress bar does, it prints once more when the signal has ended its work."""
    terminal, end = pty.openpty()
    child = os.fork()
    if child == 0:

        def work() -> None:
            (tmp_path / "started").touch()
            try:
                time.sleep(60)
            finally:
                os.write(2, b"the bar ends")

        try:
            os.close(terminal)
            os.login_tty(end)  # this process leads the terminal's session, so that SIGHUP reaches it
            exit_after(work)
        except SystemExit as left:
            os._exit(int(str(left.code)))
        finally:
            os._exit(99)
    os.close(end)
    while not (tmp_path / "started").exists():
        time.sleep(0.01)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143


def close(run: RunDirectory) -> None:
    run.finish(Artifact())


def write(run: RunDirectory) -> None:
    (run.path / "rows.jsonl").write_text("{}")


def store(run: RunDirectory) -> None:
    raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("then", [close, write, store, lambda run: None])
def test_a_removed_run_folder_is_one_line(
    then: Callable[[RunDirectory], object], tmp_path: Path, config: object
) -> None:
    def work() -> None:
        with opened(tmp_path, config) as run:
            shutil.rmtree(run.path)
            then(run)

    with pytest.raises(LwexpError, match="was removed or renamed while the run worked in it; run the same"):
        work()
    with opened(tmp_path, config) as run:  # the same command starts over
        run.finish(Artifact())
    assert opened(tmp_path, config).is_finished


def test_another_error_in_a_removed_folder_stays_what_it_is(tmp_path: Path, config: object) -> None:
    """The control."""

    def work() -> None:
        with opened(tmp_path, config) as run:
            shutil.rmtree(run.path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_a_run_in_use_says_by_which_process_of_which_host(tmp_path: Path, config: object) -> None:
    """Another host locks the same file through the file server; the lock file names it."""
    run = opened(tmp_path, config)
    with (run.path / "lock").open("w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        theirs.write("process 17 on node-2")
        theirs.flush()
        with pytest.raises(LwexpError, match=r"in use by another process \(process 17 on node-2\); wait for it"), run:
            pass
    assert (run.path / "lock").read_text() == "process 17 on node-2"  # it was not truncated meanwhile
    with run:
        assert (run.path / "lock").read_text().startswith(f"process {os.getpid()} on ")


@pytest.mark.parametrize("name", ["lock", "log.txt"])
def test_a_folder_or_a_lost_link_in_the_place_of_a_file_is_one_line(name: str, tmp_path: Path, config: object) -> None:
    run = opened(tmp_path, config)
    (run.path / name).mkdir()
    with pytest.raises(LwexpError, match=rf"{name} cannot be opened: Is a directory; move it away"), run:
        pass
    (run.path / name).rmdir()
    (run.path / name).symlink_to(tmp_path / "gone" / "file")
    with pytest.raises(LwexpError, match=rf"{name} cannot be opened: No such file"), run:
        pass


def test_a_clock_that_was_set_back_gives_no_negative_duration(tmp_path: Path, config: object) -> None:
    with opened(tmp_path, config) as run:
        run.finish(Artifact())
    manifest = run.manifest.model_copy(
        update={"starts": ["2026-01-01T12:00:05+00:00"], "end": "2026-01-01T12:00:00+00:00"}
    )
    assert RunDirectory(run.path, manifest).seconds is None
    later = manifest.model_copy(update={"end": "2026-01-01T12:00:09+00:00"})
    assert RunDirectory(run.path, later).seconds == 4


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '{"name": "An app", "start_url": "/", "icons": []}', "\ud83d", "[" * 3_000, '{"id": 1}'],
    ids=["a list", "nothing", "an app", "half an emoji", "deep", "another id"],
)
def test_a_manifest_of_something_else_is_passed_over(content: str, tmp_path: Path, config: object) -> None:
    """A web app's manifest.json in a folder beside the runs."""
    from lwexp.runs import find_run
    from lwexp.runs.find import list_runs

    with opened(tmp_path, config) as run:
        run.finish(Artifact())
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / Manifest.FILE).write_bytes(content.encode("utf-8", "surrogatepass"))

    assert [found.id for found in list_runs(tmp_path) if found.stage == "train"] == [run.id]
    assert find_run("newest", root=tmp_path, stages=("train",), key="run", make_it="x").id == run.id
