"""A server in a process of its own: started, waited for, and stopped with all its children."""

import contextlib
import logging
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psutil

from lwexp.records import LwexpError, stops_raised
from lwexp.records.children import signal_when_parent_dies
from lwexp.runs.progress import clock

log = logging.getLogger(__name__)

DIRECT = build_opener(ProxyHandler({}))
"""Opens addresses of this machine, which a proxy of the environment would look for on its own."""

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 5.0
_REPORT_SECONDS = 15.0
_STOP_SECONDS = 20.0
_LONGEST_LINE = 200
_OF_TORCHRUN = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ROLE_WORLD_SIZE", "MASTER_ADDR",
    "MASTER_PORT",
)  # fmt: skip


class ServerProcess:
    """One server on 127.0.0.1. Its port stays the same over restarts, so that clients need not know of them."""

    def __init__(self, command: Sequence[str], log_file: Path, start_seconds: float) -> None:
        """Choose a free port; nothing is started yet.

        Args:
            command: Program and arguments; ``--host`` and ``--port`` are appended.
            log_file: Receives what the server prints, appended over restarts.
            start_seconds: Time to become healthy.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._command = [*command, "--host", "127.0.0.1", "--port", str(self.port)]
        self._log_file = log_file
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """The whole command."""
        return self._command

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the started process has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until ``/health`` answers.

        Raises:
            LwexpError: If the command does not exist, or the server ends or is not healthy in time.
            Preempted: After SIGTERM.
        """
        with open(self._log_file, "ab") as out:
            try:
                self._process = self._started(out)
            except OSError as error:
                raise LwexpError(
                    f"engine.command: {self._command[0]} cannot be started ({error.strerror}); correct its path"
                ) from None
        self._watcher = _watch(self._process.pid)
        began = reported = time.monotonic()
        log.info("server: started by %s; its output is in %s", shlex.join(self._command), self._log_file)
        with stops_raised():
            while not self._is_healthy():
                now = time.monotonic()
                if self._process.poll() is not None:
                    taken = f"; another program took port {self.port}, try again" if self._port_is_taken() else ""
                    self._fail(f"ended with exit code {self._process.returncode} before it was healthy{taken}")
                if now - began > self._start_seconds:
                    self.stop()
                    self._fail(f"was not healthy after engine.start_seconds={self._start_seconds:g}")
                if now - reported >= _REPORT_SECONDS:
                    reported = now
                    log.info("server: not ready after %s: %s", clock(now - began), self._last_line())
                time.sleep(_POLL_SECONDS)
        log.info("server: ready after %s", clock(time.monotonic() - began))

    def stop(self) -> None:
        """SIGTERM to the whole session, then SIGKILL for whatever is left of it."""
        process, self._process = self._process, None
        watcher, self._watcher = self._watcher, None
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
            deadline = time.monotonic() + seconds
            if not _signal_session(process.pid, number):
                break
            while time.monotonic() < deadline:
                if not _has_members(process.pid):
                    break
                time.sleep(_POLL_SECONDS / 4)
        process.wait()
        if watcher is not None:
            watcher.kill()
            watcher.communicate()

    def _started(self, out: IO[bytes]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal must not end the server before the answers in flight have come.
        return subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=_told_when_parent_dies, env=_environment(),
        )  # fmt: skip

    def _is_healthy(self) -> bool:
        try:
            with DIRECT.open(f"{self.url}/health", timeout=_ANSWER_SECONDS) as reply:
                return bool(reply.status == 200)
        except (URLError, OSError):
            return False

    def _port_is_taken(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _fail(self, what: str) -> None:
        raise LwexpError(f"the server {what}: {self._last_line()} (all its output: {self._log_file})")

    def _last_line(self) -> str:
        lines = self._log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:_LONGEST_LINE] if lines else "it has printed nothing"


def _told_when_parent_dies() -> None:
    """Run in the child: the kernel sends it SIGTERM when lwexp dies, even by ``kill -9``, so the server stops."""
    signal_when_parent_dies(signal.SIGTERM)


def _watch(leader: int) -> subprocess.Popen[bytes]:
    """A shell that ends the server's whole group once lwexp is gone: the kernel's signal reaches only the leader.

    Its input is a pipe whose other end only this process holds, so reading ends when this process does.
    """
    script = f'read _; kill -s TERM -- "-$0"; sleep {_STOP_SECONDS:g}; kill -s KILL -- "-$0"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, str(leader)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _environment() -> dict[str, str]:
    """Without torchrun's variables, which would make the server one rank of the training that started it."""
    return {
        name: value for name, value in os.environ.items() if name not in _OF_TORCHRUN and "TORCHELASTIC" not in name
    }


def _signal_session(leader: int, number: int) -> bool:
    """Send a signal to the process group; False if it has no member any more."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True


def _has_members(leader: int) -> bool:
    """Whether a process of the group still runs. One that has ended counts no more, though init may reap it late."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(pid) == leader and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
    return False
