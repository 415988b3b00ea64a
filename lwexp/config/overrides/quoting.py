"""Quotes overrides, so that texts and paths reach their keys as typed, whatever characters they contain.

Hydra has a grammar of its own for ``key=value``, in which commas, spaces, brackets, ``=``, ``#`` and Chinese
characters have a special meaning or are refused. Where the schema says that a key holds one text, the value is quoted
before Hydra reads it.
"""

import re
import typing
from functools import cache
from pathlib import Path
from types import NoneType, UnionType

from lwexp.config.fields import EACH, walk
from lwexp.config.schema import Config
from lwexp.extend import OneOf
from lwexp.records import LwexpError

_PLAIN = re.compile(
    r"(?!(true|false|nan|inf)$)[A-Za-z_./][A-Za-z0-9_./:+-]*", re.IGNORECASE
)  # Hydra reads such a value as plain text
_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)
_SWEEP = re.compile(r"(choice|range|glob|shuffle|sort|tag|interval)\(.*\)", re.DOTALL)
_NO_TEXT = ("", "null", "???")


def as_typed(word: str, *, is_sweep: bool = False) -> str:
    """An override as Hydra can read it.

    Args:
        word: One argument of the command line, as the shell passes it on.
        is_sweep: Whether commas separate values (``-m``).

    Raises:
        LwexpError: If a value with commas could be either the name of a file or the values of a sweep.
    """
    head, equals, value = word.partition("=")
    key = head.lstrip("+")
    if key == "bench.range" and value[:1] in ("[", "(", "<", ">"):
        return f'{head}="{value}"'
    if (
        not equals
        or value in _NO_TEXT
        or (_PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "nan", "inf"))
    ):
        return word
    if _QUOTED.fullmatch(value) or "${" in value or value == "" or not holds_text(key):
        return word
    if is_sweep and _SWEEP.fullmatch(value):
        return word
    if is_sweep and "," in value:
        if Path(value).exists():
            raise LwexpError(
                f"{word}: with -m the comma separates values of a sweep, and there is a file of this name; "
                f"to use the file, type {shell_quoted(head, value)}"
            )
        return word
    return f"{head}={quoted(value)}"


def quoted(value: str) -> str:
    """A text in the double quotes of Hydra's grammar."""
    inner = re.sub(r'(\\*)"', r'\1\1\\"', value)
    ending = len(inner) - len(inner.rstrip("\\"))
    return f'"{inner}{chr(92) * ending}"'


def shell_quoted(key: str, value: str) -> str:
    """An override with a quoted value, to be pasted into a shell."""
    import shlex

    return shlex.quote(f"{key}={quoted(value)}")


@cache
def _text_keys(version: int) -> set[tuple[str, ...]]:
    """Keys that hold one text in every class that has them; ``version`` is only the cache's key."""
    kinds: dict[tuple[str, ...], bool] = {}
    for key, field in walk(Config):
        parts = tuple(key.split("."))
        is_text = _is_text(field.annotation) and not any(isinstance(item, OneOf) for item in field.metadata)
        kinds[parts] = kinds.get(parts, True) and is_text
    return {key for key, is_text in kinds.items() if is_text}


def _is_text(annotation: object) -> bool:
    options = (
        typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, UnionType) else [annotation]
    )
    return bool(options) and all(option in (str, NoneType) for option in options) and str in options


def holds_text(key: str) -> bool:
    """Whether a key holds one free text or path."""
    from lwexp.extend import Registry

    parts = tuple(key.split("."))
    known = _text_keys(sum(registry.version for registry in Registry.every))
    return any(
        len(pattern) == len(parts) and all(p in (EACH, part) for p, part in zip(pattern, parts, strict=True))
        for pattern in known
    )
