"""The gate: a composed YAML tree goes in, a frozen and validated config comes out.

YAML holds the numbers of a recipe; the schema defines what they mean. A field has a default only if
the default is neutral, such as "no limit", or if nearly every choice has the same value.
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from lwexp.config.mistakes.limits import HALF
from lwexp.extend import Strict
from lwexp.records import LwexpError

# Config trees are plain JSON-like values until the gate has read them.
Tree = dict[str, Any]


class ConfigError(LwexpError):
    """One or more config values are wrong; the text has one line for each."""


S = TypeVar("S", bound=Strict)


def validate(tree: Tree, schema: type[S]) -> S:
    """Turn a resolved tree into a config.

    Goes through JSON on purpose: for JSON, pydantic's strict mode accepts a list as a tuple and a string as a path, but
    refuses "3", 3.0 and true where an integer belongs.

    Raises:
        ConfigError: With every problem at once: the key, what it got, what it wants, what to type.
    """
    from lwexp.config.fields import keep_up_to_date
    from lwexp.config.secrets import refuse_tree

    refuse_tree(tree)  # before a wrong value could be repeated in a message
    keep_up_to_date(schema)
    try:
        text = json.dumps(tree)
    except TypeError:
        raise ConfigError(_type_problem(tree)) from None
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        lines = [_explain(problem, tree, schema) for problem in error.errors(include_url=False)]
        raise ConfigError(*dict.fromkeys(lines)) from None


def _type_problem(tree: Tree) -> str:
    """YAML has types that JSON lacks, such as ``!!binary``."""
    key = _first_key(tree, lambda value: not isinstance(value, str | int | float | None))
    return f"{key}: is of a type such as !!binary; wanted text, a number, true, false or null"


def _first_key(tree: Tree, is_meant: Callable[[object], bool]) -> str:
    """The first key with such a value."""
    from lwexp.config.secrets import leaves

    return next((key for key, value in leaves(tree) if is_meant(value)), "the config")


def _is_cut(value: object) -> bool:
    """Whether a text holds half a character, which UTF-8 cannot write."""
    return isinstance(value, str) and HALF.search(value) is not None


def _explain(problem: Any, tree: Tree, schema: type[Strict]) -> str:
    """One line for one pydantic problem."""
    from lwexp.config.mistakes.hints import no_such_key

    key = _dotted(problem["loc"], tree)
    if problem["type"] == "extra_forbidden":
        return no_such_key(key, tree, schema)
    if problem["type"] == "missing":
        return f"{key}: is missing; choose a group file that has it, or add {key}=<value>"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "json_invalid":
        return (
            f'{_first_key(tree, _is_cut)}: holds half a character, such as "\\ud83d" without its other half; remove it'
        )
    if problem["type"] == "unknown_kind":
        return _unknown_kind(key, problem)
    shown = json.dumps(problem["input"], ensure_ascii=False)[:80]
    message = problem["msg"].removeprefix("Input ").replace("should be", "must be")
    return f"{key}: {message}, got {shown}; override it with {key}=<value>"


def _unknown_kind(key: str, problem: Any) -> str:
    """The message for a name that no registered class has; perhaps the user forgot to name its plugin."""
    given, what, choices = problem["input"], problem["ctx"]["what"], problem["ctx"]["choices"]
    name = given.get("kind") if isinstance(given, dict) else given
    key = f"{key}.kind" if isinstance(given, dict) else key
    return (
        f"{key}: {name!r} is not a known {what}; there are {choices}; one of your own is loaded by plugins=[<file.py>]"
    )


def _dotted(location: tuple[str | int, ...], tree: Tree) -> str:
    """Dotted key of a pydantic location, less the union tags that pydantic puts into it."""
    node: Any = tree
    parts = []
    for part in location:
        if isinstance(node, dict) and part not in node and node.get("kind") == part:
            continue
        parts.append(str(part))
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            node = None
    return ".".join(parts)
