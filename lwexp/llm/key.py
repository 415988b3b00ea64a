"""API keys: named in the config, read from the environment at the last moment, never stored."""

import os

from lwexp.extend.endpoint import Endpoint, Hosted
from lwexp.records import LwexpError


def require_key(endpoint: Endpoint) -> str | None:
    """The key, or None if the endpoint needs none. Also called before a run is opened, so a missing key fails early.

    Raises:
        LwexpError: If the environment variable is missing or empty.
    """
    if not isinstance(endpoint, Hosted) or endpoint.api_key_env is None:
        return None
    name = endpoint.api_key_env
    key = os.environ.get(name, "").strip()
    if not key:
        raise LwexpError(
            f"{endpoint.section}: {endpoint.model} needs its key in the environment variable {name}, which is not "
            f"set; type: export {name}=<your key>"
        )
    return key
