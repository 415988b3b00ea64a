"""The loopback server in a process of its own, for tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SERVER = Path(__file__).parent / "openai_server.py"


class LoopbackServer:
    """The address of a running server, and what it has seen."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._root = f"http://127.0.0.1:{port}"

    def stats(self) -> dict[str, Any]:
        """Everything, each request included."""
        return self._get("/stats")

    def now(self) -> dict[str, Any]:
        """The counts alone: cheap enough to ask for while a run goes on."""
        return self._get("/now")

    def reset(self) -> None:
        self._get("/reset")

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._root + path) as answer:
            stats: dict[str, Any] = json.loads(answer.read())
        return stats


@contextlib.contextmanager
def loopback_server(*options: str) -> Iterator[LoopbackServer]:
    """Start a server with the options of openai_server.py; it ends with the block, or with this process."""
    command = [sys.executable, str(_SERVER), *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield LoopbackServer(int(process.stdout.readline()))
    process.communicate(timeout=20)  # closing its standard input ends it
