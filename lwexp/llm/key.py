"""API keys: named in the config, read from the environment at the last moment, never stored."""

import base64
import functools
import html
import json
import os
import re
from urllib.parse import quote

from lwexp.extend.endpoint import Endpoint, Hosted
from lwexp.records import LwexpError

_HIDDEN = "***"
_SHORTEST = 6
"""Characters of a key that is looked for; a shorter one, such as "none" for a local server, is an ordinary word."""
_SHORTEST_IN_REPLY = 12
"""Characters of a key that is looked for in replies; shorter ones, such as "ollama" or "secret", are words of texts."""
_ADDRESSES = ("BASE_URL", "API_BASE", "API_BASE_URL")
"""How the variables end from which litellm takes a server's address, after the provider's name."""


def require_key(endpoint: Endpoint) -> str | None:
    """The key, or None if the endpoint needs none. Also called before a run is opened, so a missing key fails early.

    Raises:
        LwexpError: If the environment variable is missing or empty, or another one names the server.
    """
    if not isinstance(endpoint, Hosted):
        return None
    _refuse_address_of_environment(endpoint)
    if endpoint.api_key_env is None:
        return None
    name = endpoint.api_key_env
    key = os.environ.get(name, "").strip()
    if not key:
        raise LwexpError(
            f"{endpoint.section}: {endpoint.model} needs its key in the environment variable {name}, which is not "
            f"set; type: export {name}=<your key>"
        )
    return key


def _refuse_address_of_environment(endpoint: Hosted) -> None:
    """litellm would send the calls to that server, and no file of the run would say so.

    Raises:
        LwexpError: Naming the variable.
    """
    if endpoint.base_url is not None:
        return
    if not any(name.endswith(_ADDRESSES) and value.strip() for name, value in os.environ.items()):
        return  # so that a bare name does not import litellm, which takes about 2 s, to no avail
    provider = re.sub(r"\W", "_", _provider(endpoint.model)).upper()
    for name in (f"{provider}_{ending}" for ending in _ADDRESSES):
        if os.environ.get(name, "").strip():
            raise LwexpError(
                f"{endpoint.section}: the environment variable {name} would send the calls to another server than the "
                f"config says; unset it, or set {endpoint.section}.base_url to that address"
            )


def _provider(model: str) -> str:
    """The provider in the model's name; litellm's choice for a name without one, such as ``claude-...``."""
    if "/" in model:
        return model.partition("/")[0]
    from lwexp.llm.transport import provider_of

    return provider_of(model)


def scrubbed(text: str, key: str | None) -> str:
    """An error message without the key, and without what a server may turn a key into before it repeats it."""
    if not key or len(key) < _SHORTEST:
        return text.replace(key, _HIDDEN) if key else text
    return _forms(key, re.IGNORECASE).sub(_HIDDEN, text)


def scrubbed_reply(text: str, key: str | None) -> str:
    """A model's text without the key. The text is paid for and may hold any word, so a key that may be an ordinary one
    stays, and letters of another case are another text."""
    return text if not key or len(key) < _SHORTEST_IN_REPLY else _forms(key, re.NOFLAG).sub(_HIDDEN, text)


@functools.cache
def _forms(key: str, case: re.RegexFlag) -> re.Pattern[str]:
    """The key itself, quoted for URLs, JSON or HTML, in hexadecimal, and in base64, also within a longer text.

    Hexadecimal digits, also those of %-forms, match in either case; ``case`` is for all other forms.
    """
    raw = key.encode()
    forms = {key, json.dumps(key)[1:-1], html.escape(key), html.escape(key, quote=False)}
    forms.add(json.dumps(json.dumps(key)[1:-1])[1:-1])
    for before in range(3):  # base64 writes three bytes as four characters, so a key looks different at each offset
        first = -(-before * 8 // 6)  # the characters that also hold bits of what stands before the key
        last = (before + len(raw)) * 8 // 6
        encoded = base64.b64encode(b"\0" * before + raw).decode()[first:last]
        forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    quoted = {quote(key, safe=""), quote(key)} - {key}  # a key without odd signs is not changed by quoting
    in_any_case = quoted | {raw.hex(), "".join(f"%{byte:02x}" for byte in raw)}
    longest_first = sorted(forms | in_any_case, key=len, reverse=True)
    parts = (f"(?i:{re.escape(form)})" if form in in_any_case else re.escape(form) for form in longest_first)
    return re.compile("|".join(parts), case)
