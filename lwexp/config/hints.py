"""Spelling help: the keys that exist, and the one a mistyped key was probably meant to be."""

from __future__ import annotations

import difflib
import types
import typing

from pydantic import BaseModel


def known_keys(schema: type[BaseModel]) -> list[str]:
    """Every dotted key of a schema, all branches of its unions included."""
    keys: set[str] = set()
    _collect(schema, "", keys)
    return sorted(keys)


def closest(key: str, known: list[str]) -> str | None:
    """The known key most like ``key``, or None when nothing is near.

    A wrong parent with the right last word counts as near: ``lr`` finds ``objective.optimizer.lr``.
    """
    matches = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if matches:
        return matches[0]
    last = key.rsplit(".", 1)[-1]
    same_last = [name for name in known if name.rsplit(".", 1)[-1] == last]
    if same_last:
        return min(same_last, key=len)
    lasts = {name.rsplit(".", 1)[-1]: name for name in known}
    near = difflib.get_close_matches(last, list(lasts), n=1, cutoff=0.8)
    return lasts[near[0]] if near else None


def _collect(annotation: object, prefix: str, keys: set[str]) -> None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            keys.add(prefix + name)
            _collect(field.annotation, f"{prefix}{name}.", keys)
        return
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        for option in typing.get_args(annotation):
            _collect(option, prefix, keys)
