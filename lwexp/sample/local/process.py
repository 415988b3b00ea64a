"""One worker as a process: started with its own device, and ended with everything it holds."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from lwexp.config.folders import REPOSITORY
from lwexp.records.children import signal_when_parent_dies

MODULE = "lwexp.sample.local.worker"

_LONGEST_LINE = 200


class Place(NamedTuple):
    """Where a worker computes."""

    device: str | None
    """As in CUDA_VISIBLE_DEVICES; None for the CPU."""
    threads: int
    """Of torch, on the CPU."""


class Worker:
    """A started worker. Its process is in a session of its own, because a Ctrl-C in the terminal is not for it."""

    def __init__(self, place: Place, log_file: Path) -> None:
        """Start the process.

        Args:
            place: Its device.
            log_file: Receives what it prints, appended; only a crash prints anything.
        """
        self._log_file = log_file
        self._log_start = log_file.stat().st_size if log_file.is_file() else 0
        ours, theirs = socket.socketpair()
        with theirs, open(log_file, "ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=_environment(place),
                pass_fds=[theirs.fileno()], preexec_fn=_killed_with_its_parent,
            )  # fmt: skip
        self.connection = Connection(ours.detach())

    def send(self, *messages: object) -> None:
        """Send messages; one that has died meanwhile is noticed when its connection ends."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for message in messages:
                self.connection.send(message)

    def wait(self) -> int:
        """Close the connection, and wait for the process. Returns its exit code, below 0 for a signal."""
        self.connection.close()
        return self._process.wait()

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self.wait()

    def last_line(self) -> str:
        """The last line that a worker has printed since this one began."""
        printed = self._log_file.read_bytes()[self._log_start :]
        lines = printed.decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1][:_LONGEST_LINE] if lines else "it has printed nothing"


def _environment(place: Place) -> dict[str, str]:
    # The worker imports the same code, also from a checkout that is not installed.
    path = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    if place.device is not None:
        return environment | {"CUDA_VISIBLE_DEVICES": place.device}
    # DeepSpeed, which transformers imports if it is installed, would look for accelerators and warn.
    return {"DS_ACCELERATOR": "cpu"} | environment | {"OMP_NUM_THREADS": str(place.threads)}


def _killed_with_its_parent() -> None:
    """Run in the child: the kernel kills it when the process that started it dies, even by ``kill -9``."""
    signal_when_parent_dies(signal.SIGKILL)


def places(workers: int, devices: Sequence[str], cores: int) -> list[Place]:
    """The devices in turn; without any, an equal share of the cores.

    Example: 4 workers on the devices "0" and "1" get 0, 1, 0, 1; 2 workers on 5 cores get 2 threads each.
    """
    if devices:
        return [Place(devices[number % len(devices)], 1) for number in range(workers)]
    return [Place(None, max(1, cores // workers))] * workers
