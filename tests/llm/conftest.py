"""A real HTTP server in a process of its own, and endpoints pointed at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lwexp.extend.endpoint import Limits, Price
from lwexp.llm import adaptation
from lwexp.llm.endpoints.hosted import LiteLLMTeacher
from lwexp.llm.endpoints.offline import OfflineTeacher
from tests.llm.loopback import LoopbackServer, loopback_server
from tests.llm.providers.server import Provider
from tests.llm.providers.server import provider as running


@pytest.fixture(scope="session")
def running_server() -> Iterator[LoopbackServer]:
    with loopback_server() as server:
        yield server


@pytest.fixture
def server(running_server: LoopbackServer) -> LoopbackServer:
    """The server, as if just started."""
    running_server.reset()
    return running_server


@pytest.fixture(scope="session")
def running_provider() -> Iterator[Provider]:
    with running() as found:
        yield found


@pytest.fixture
def provider(running_provider: Provider) -> Provider:
    """The server whose behaviour is in the model's name, as if just started."""
    running_provider.reset()
    adaptation.forget()
    return running_provider


def _limits(**changes: Any) -> Limits:
    values = {
        "concurrency": 4,
        "requests_per_minute": None,
        "tokens_per_minute": None,
        "timeout_seconds": 10.0,
        "max_attempts": 3,
        "initial_backoff_seconds": 0.1,
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
    """Makes offline teachers; keywords are ``length_noise``, ``max_tokens`` and limits."""

    def make(*, length_noise: float = 0.4, max_tokens: int = 4096, **limits: Any) -> OfflineTeacher:
        return OfflineTeacher(
            kind="offline", model="offline/teacher", paragraph_words=25, length_noise=length_noise,
            temperature=0.5, top_p=1.0, max_tokens=max_tokens, limits=_limits(**limits),
        )  # fmt: skip

    return make
