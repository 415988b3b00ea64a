"""Runs a system in a process of its own, and measures the memory that it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any

import psutil

from benchmarks.sampling.task import Task

_LOOK_SECONDS = 0.05
_LAST_WORDS = 3000


def in_own_process(system: str, task: Task) -> dict[str, Any]:
    """What a system prints, with ``peak_mib`` of its processes unless it has measured that itself.

    Raises:
        SystemExit: If it fails, with the end of what it printed.
    """
    command = [sys.executable, "-m", "benchmarks.sampling", *task.arguments(), "--system", system]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        with PeakMemory(process.pid) as memory:
            output, _ = process.communicate()
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{system} failed:\n{errors.read()[-_LAST_WORDS:]}")
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return {"peak_mib": memory.mib} | told


class PeakMemory:
    """The largest resident memory of a process and its children, looked at 20 times a second.

    Args:
        pid: The process.
        itself: False counts the children only.
    """

    def __init__(self, pid: int, *, itself: bool = True) -> None:
        self.mib = 0.0
        self._pid = pid
        self._itself = itself
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                top = psutil.Process(self._pid)
                family = [*([top] if self._itself else []), *top.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.mib = max(self.mib, sum(map(_resident, family)) / 2**20)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return 0
