"""Finds API keys in wrong places before anything is composed, written or echoed.

A config may hold only the name of the variable that holds a key. Everything in a config ends up in config.json, in the
manifest's command line and in trackers, so a key itself is refused, and the message never repeats it.
"""

import os
import re
from collections.abc import Iterable, Iterator

from lwexp.extend.endpoint import require_plain_address
from lwexp.records import LwexpError

# Keys by the prefixes that providers use, bearer tokens, and passwords or keys inside URLs.
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk)-(?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{12,}"
    r"|(?<![A-Za-z0-9])(?:hf|gsk|ghp|github_pat|xai|glpat|r8)[_-](?=[A-Za-z0-9_-]*\d)[A-Za-z0-9_-]{16,}"
    r"|(?<![A-Za-z0-9])AIza[A-Za-z0-9_-]{30,}|(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|\b[Bb]earer\s+\S{8,}"
    r"|://[^/\s@]+@"
    r"|(?i:[?&;#](?:[a-z-]*[-_])?(?:api[-_]?key|key|token|sig|signature|auth|secret|code|credential|password)=[^&\s]{6,})"
)
_SECRET_NAME = re.compile(
    r"(?:^|[._+~-])(?:api[-_]?key|secret|password|(?:access|auth|api)[-_]token|(?:proxy-)?authorization|cookie)$", re.I
)
_VARIABLE = re.compile(r"(?:_KEY|_TOKEN|_SECRET|_PASSWORD)$")
_SHORTEST = 8  # a shorter value of a variable called ..._KEY may well be an ordinary word


def refuse_arguments(arguments: Iterable[str]) -> None:
    """Refuse a command line that holds a key.

    Raises:
        LwexpError: Names the override, never its value.
    """
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and value not in ("", "null") and _SECRET_NAME.search(name):
            raise LwexpError(_message(name.lstrip("+~")))
        if name.endswith("base_url") and "${" not in value and value not in ("", "null"):
            try:
                require_plain_address(value.strip("'\""), name.lstrip("+~").removesuffix(".base_url"))
            except ValueError as error:
                raise LwexpError(str(error)) from None
        if _holds_key(argument):
            raise LwexpError(_message("the command line" if _holds_key(name) else name.lstrip("+~")))


def refuse_tree(tree: object) -> None:
    """Refuse a composed config that holds a key anywhere, whichever file it came from.

    Raises:
        LwexpError: Names the config key, never its value.
    """
    for name, value in leaves(tree):
        if not isinstance(value, str):
            continue
        if name.endswith("api_key_env") and value and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            raise LwexpError(f"{name}: must be the NAME of an environment variable, such as OPENAI_API_KEY, not a key")
        if _holds_key(value) or (_SECRET_NAME.search(name) and value):
            raise LwexpError(_message(name))


def _holds_key(text: str) -> bool:
    if _KEY.search(text):
        return True
    values = (value.strip() for name, value in os.environ.items() if _VARIABLE.search(name))
    return any(len(value) >= _SHORTEST and value in text for value in values)


def leaves(node: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Dotted key and value of all that is no section and no list; the items of a list have the list's key."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list | tuple):
        for value in node:
            yield from leaves(value, name)
    else:
        yield name, node


def _message(where: str) -> str:
    return (
        f"{where}: holds what looks like a key, and a config ends up in files; put the key into an environment "
        f"variable (export OPENAI_API_KEY=<your key>) and its name into teacher.api_key_env"
    )
