"""How the kill benchmarks start a command. Tests fork it, which saves the imports; the benchmarks start Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

REPOSITORY = Path(__file__).resolve().parents[1]


class Command(Protocol):
    """A started command, as ``subprocess.Popen`` shows it."""

    returncode: Any

    def poll(self) -> int | None: ...

    def wait(self, timeout: float = ...) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


Start = Callable[[list[str], IO[bytes] | int], Command]
"""Starts Python's arguments in the repository's folder; the second is for the output."""


def in_python(words: list[str], out: IO[bytes] | int) -> Command:
    """In a Python of its own."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=out, stderr=out, start_new_session=True)
