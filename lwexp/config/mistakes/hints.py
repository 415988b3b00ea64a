"""What to type instead of a key that does not exist."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from lwexp.config.base import Tree
from lwexp.config.fields import Place, closest, follow, kinds_of, known_keys, walk
from lwexp.config.mistakes.aliases import ALIASES, COMMANDS, NOTES
from lwexp.extend.settings import key_of


def no_such_key(key: str, tree: Tree, schema: type[BaseModel]) -> str:
    """One line: why the key does not exist, and what to type instead. It never suggests the key itself.

    Args:
        key: Dotted, as typed or as found in a YAML file.
        tree: The composed config around it, which says what is chosen.
        schema: The schema of the whole config.
    """
    place = follow(key, tree, schema)
    word = key.rsplit(".", 1)[-1].lower().replace("-", "_")
    if key == "experiment" and isinstance(tree.get(key), dict):
        return "experiment: the experiment file lacks '# @package _global_'; add that as its first line"
    if new := _renamed(place):
        return f"{key}: was renamed to {new}"
    if choice := _of_another_choice(place, tree, schema):
        return f"{key}: {choice}"
    known = [name for name in [*known_keys(schema), "experiment", "instructions"] if name != key]
    alias = ALIASES.get(word)
    if alias in known:
        note = f" ({NOTES[alias]})" if alias in NOTES else ""
        return f"{key}: no such key; did you mean {alias}{note}?"
    if word in COMMANDS:
        return f"{key}: no such key; here it is {COMMANDS[word]}"
    if hint := _sibling(place) or closest(key, known):
        return f"{key}: no such key; did you mean {hint}?"
    return f"{key}: no such key; remove it, or see --cfg job for the keys there are"


def _renamed(place: Place) -> str | None:
    for name, field in place.model.model_fields.items():
        if key_of(field).formerly == place.rest[0]:
            return ".".join([*place.path, name, *place.rest[1:]])
    return None


def _sibling(place: Place) -> str | None:
    """A similar key or name at the level where the key goes wrong."""
    wrong, *below = place.rest
    near = difflib.get_close_matches(wrong, [name for name in place.names if name != wrong], n=1, cutoff=0.8)
    return ".".join([*place.path, near[0], *below]) if near else None


def _of_another_choice(place: Place, tree: Tree, schema: type[BaseModel]) -> str | None:
    """For a key of a class that is not chosen: which choice has it, and how to choose that."""
    for union in reversed(place.unions):
        rest = ".".join(union.rest)
        having = [model for model in union.models if _has(model, union.rest)]
        if not having or not rest:
            continue
        path, kinds = ".".join(union.path), [kind for model in having for kind in kinds_of(model)]
        chosen = _name_of(path, union.kind)
        typed = _choices(path, kinds) or [f"{path}.kind={kind}" for kind in kinds]
        some = " or ".join(typed[:3]) + (f" (or {len(typed) - 3} more)" if len(typed) > 3 else "")
        return f"{chosen} has no {rest}; {some} {'have' if len(typed) > 1 else 'has'} it: add {typed[0]}"
    return None


def _has(model: type[BaseModel], rest: tuple[str, ...]) -> bool:
    return any(_matches(key.split("."), rest) for key, _ in walk(model))


def _matches(pattern: list[str], parts: Iterable[str]) -> bool:
    parts = list(parts)
    return len(pattern) == len(parts) and all(p in ("*", part) for p, part in zip(pattern, parts, strict=True))


def _name_of(path: str, kind: Any) -> str:
    """``objective=sft``, or ``hardware.kind=zero`` where no file has the kind's name."""
    from lwexp.config.folders import CONF, group_at

    group = group_at(path)
    return f"{group}={kind}" if group and (CONF / group / f"{kind}.yaml").is_file() else f"{path}.kind={kind}"


def _choices(path: str, kinds: list[Any]) -> list[str]:
    """The files of the group at a path that choose one of these kinds."""
    from lwexp.config.folders import bases_of, choices_of, config_folders, group_at, read_choice

    group = group_at(path)
    if group is None:
        return []
    names = dict.fromkeys(file.stem for file in choices_of(group))
    having = [name for name in names if read_choice(group, name, config_folders()).get("kind") in kinds]
    bases = [base for path in choices_of(group) for base in bases_of(path)]
    # The file that most others are variants of is the usual one.
    return [f"{group}={name}" for name in sorted(having, key=lambda name: -bases.count(name))]
