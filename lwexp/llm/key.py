"""API keys: named in the config, read from the environment at the last moment, kept nowhere."""

from __future__ import annotations

import os

from lwexp.config.llm import Hosted, LiteLLMTeacher, LiteLLMWriter, OfflineTeacher
from lwexp.llm.price import Endpoint
from lwexp.records import LwexpError


def require_key(endpoint: Endpoint) -> str | None:
    """The key; None where the endpoint needs none. Also called before a run is opened, to fail before anything is made.

    Raises:
        LwexpError: If the environment variable is missing or empty.
    """
    if not isinstance(endpoint, Hosted) or endpoint.api_key_env is None:
        return None
    name = endpoint.api_key_env
    key = os.environ.get(name, "").strip()
    if not key:
        raise LwexpError(
            f"{section_of(endpoint)}: {endpoint.model} needs its key in the environment variable {name}, which is not "
            f"set; type: export {name}=<your key>"
        )
    return key


def section_of(endpoint: Endpoint) -> str:
    """The config section that an endpoint comes from, for messages."""
    if isinstance(endpoint, LiteLLMWriter):
        return "engine"
    return "teacher" if isinstance(endpoint, LiteLLMTeacher | OfflineTeacher) else "judge"
