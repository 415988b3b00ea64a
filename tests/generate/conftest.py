"""The loopback server of tests/llm, for whole runs over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_SERVER = Path(__file__).parents[1] / "llm" / "openai_server.py"


@pytest.fixture
def start_server() -> Iterator[Callable[..., str]]:
    """Starts a server with the given options and returns its base URL."""
    running = []

    def start(*options: str) -> str:
        command = [sys.executable, str(_SERVER), *options]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}/v1"

    yield start
    for process in running:
        try:
            process.communicate(timeout=5)  # closing its standard input ends it
        except subprocess.TimeoutExpired:
            process.kill()  # it waits for clients that hung up on a slow answer
            process.communicate()
