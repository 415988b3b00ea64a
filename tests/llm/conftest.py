"""A real HTTP server in a process of its own, and endpoints pointed at it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lwexp.config.llm import Limits, LiteLLMTeacher, OfflineTeacher, Price

_SERVER = Path(__file__).parent / "openai_server.py"


class LoopbackServer:
    """The address of a running server, and what it has seen."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._root = f"http://127.0.0.1:{port}"

    def stats(self) -> dict[str, Any]:
        return self._get("/stats")

    def reset(self) -> None:
        self._get("/reset")

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._root + path) as answer:
            stats: dict[str, Any] = json.loads(answer.read())
        return stats


@pytest.fixture(scope="session")
def running_server() -> Iterator[LoopbackServer]:
    command = [sys.executable, str(_SERVER)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield LoopbackServer(int(process.stdout.readline()))
    process.communicate(timeout=10)  # closing its standard input ends it


@pytest.fixture
def server(running_server: LoopbackServer) -> LoopbackServer:
    """The server, as if just started."""
    running_server.reset()
    return running_server


def _limits(**changes: Any) -> Limits:
    values = {
        "concurrency": 4,
        "requests_per_minute": None,
        "timeout_seconds": 10.0,
        "max_attempts": 3,
        "budget_usd": None,
    }
    return Limits(**{**values, **changes})


@pytest.fixture
def hosted(server: LoopbackServer) -> Callable[..., LiteLLMTeacher]:
    """Makes endpoints on the server; keywords are its price, its key's variable, and limits."""

    def make(*, price: Price | None = None, key_env: str | None = None, **limits: Any) -> LiteLLMTeacher:
        return LiteLLMTeacher(
            kind="litellm", model="hosted_vllm/local", base_url=server.url, api_key_env=key_env,
            temperature=0.5, top_p=1.0, max_tokens=200, price=price, limits=_limits(**limits),
        )  # fmt: skip

    return make


@pytest.fixture
def offline() -> Callable[..., OfflineTeacher]:
    """Makes offline teachers; keywords are ``miss``, ``max_tokens`` and limits."""

    def make(*, miss: float = 0.4, max_tokens: int = 4096, **limits: Any) -> OfflineTeacher:
        return OfflineTeacher(
            kind="offline", model="offline/teacher", paragraph_words=25, miss=miss,
            temperature=0.5, top_p=1.0, max_tokens=max_tokens, limits=_limits(**limits),
        )  # fmt: skip

    return make
