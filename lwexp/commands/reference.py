"""Every key of the config as text: for ``--help <key>``, and for the page docs/config.md.

python -m lwexp.commands.reference docs/config.md        writes the page
"""

from __future__ import annotations

import json
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from lwexp.commands.key_texts import key_text
from lwexp.config.fields import closest, commands_that_read, is_section, key_at, kinds_of, models_in, written
from lwexp.config.schema import Config
from lwexp.extend import OneOf
from lwexp.records import LwexpError, write_text

_EFFECTS = {
    "result": "results",
    "choice": "which samples are chosen",
    "speed": "speed, memory or logs",
    "label": "names and places",
}
_TYPES: dict[Any, str] = {int: "integer", float: "number", str: "text", bool: "true, false", Path: "path"}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "{} or more items",
}


_HEAD = """# Every key of the config

Made from the schema by `python -m lwexp.commands.reference docs/config.md`. Set a key on the command line as
`key=value`. `lwexp train --help objective` prints one section; `--cfg job` prints the whole config of a command.

`-` as default means that the chosen file of the group sets the key. *Changes* says what another value changes: results
(the key is then part of a run's id), which samples are chosen, speed, memory or logs, or only names and places. `*` in
a key stands for a name that you choose.
"""


class Row(NamedTuple):
    """One key."""

    key: str
    wants: str
    """Its type, choices and limits."""
    default: str
    """As typed on a command line; "-" if the chosen file sets it."""
    changes: str
    """What another value changes."""
    meaning: str


class Section(NamedTuple):
    """A part of the config that holds keys."""

    path: str
    """Dotted; empty for the keys at the top. ``*`` stands for a name of the user's choice."""
    kinds: tuple[str, ...]
    """Names by which its class is chosen, if there are several classes."""
    about: str
    read_by: tuple[str, ...]
    """Commands that read it."""
    rows: list[Row]


def sections(schema: type[BaseModel] = Config) -> list[Section]:
    """Every section in the order of the schema, each class at a place once."""
    found = [_section("", schema)]
    seen: set[tuple[str, type[BaseModel]]] = set()

    def collect(model: type[BaseModel], prefix: str) -> Iterator[Section]:
        for name, field in model.model_fields.items():
            for part, below in models_in(field.annotation, field.metadata):
                path = f"{prefix}{name}.{part}".rstrip(".")
                if (path, below) not in seen:
                    seen.add((path, below))
                    yield _section(path, below)
                    yield from collect(below, f"{path}.")

    return found + list(collect(schema, ""))


def _section(path: str, model: type[BaseModel]) -> Section:
    prefix = f"{path}." if path else ""
    rows = [
        Row(
            prefix + name,
            wanted(field),
            _default(field),
            _EFFECTS[key_at(Config, prefix + name).affects],
            key_text(model, name),
        )
        for name, field in model.model_fields.items()
        if name != "kind" and not is_section(field)
    ]
    about = " ".join((model.__doc__ or "").split()) if path else "Keys of no section."
    return Section(path, kinds_of(model), about, commands_that_read(Config, path.split(".")[0]), rows)


def wanted(field: FieldInfo) -> str:
    """The type of a field with its choices and limits, in words."""
    registries = [item.registry for item in field.metadata if isinstance(item, OneOf)]
    text = ", ".join(registries[0]) if registries else _type_words(field.annotation)
    limits = [
        words.format(getattr(item, name))
        for item in field.metadata
        for name, words in _BOUNDS.items()
        if getattr(item, name, None) is not None
    ]
    return "; ".join([text, *limits])


def _type_words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(str(choice) for choice in arguments)
    if origin is typing.Annotated:
        return _type_words(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join("null" if option is types.NoneType else _type_words(option) for option in arguments)
    if origin is dict:
        return f"mapping of names to {_type_words(arguments[1])}"
    if origin in (tuple, list):
        each = [_type_words(item) for item in arguments if item is not Ellipsis]
        return f"list of {each[0]}" if Ellipsis in arguments or origin is list else f"[{', '.join(each)}]"
    return _TYPES.get(annotation, "section")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "-"
    value = written(field, to_jsonable_python(field.get_default(call_default_factory=True)))
    return value if isinstance(value, str) and value else json.dumps(value)


def help_for(command: str, key: str) -> str:
    """What ``<command> --help <key>`` prints: a section's keys, or one key.

    Args:
        command: generate, train or evaluate.
        key: Such as ``objective`` or ``objective.optimizer.lr``.

    Raises:
        LwexpError: If there is no such key, or the command does not read it.
    """
    every = sections()
    top = key.split(".")[0]
    chosen = [part for part in every if part.path == key or part.path.startswith(f"{key}.")]
    if not chosen:
        chosen = [part._replace(rows=[row for row in part.rows if row.key == key]) for part in every]
        chosen = [part for part in chosen if part.rows]
    if not chosen:
        known = sorted({part.path for part in every} | {row.key for part in every for row in part.rows})
        near = closest(key, known)
        advice = f"; did you mean {near}?" if near else "; --help alone lists the groups and top-level keys"
        raise LwexpError(f"--help {key}: no such key{advice}")
    readers = commands_that_read(Config, top)
    if readers and command not in readers:
        raise LwexpError(f"--help {key}: {command} does not read {top}; try lwexp {readers[0]} --help {key}")
    return "\n\n".join(_as_help(part) for part in chosen if part.rows)


def _as_help(part: Section) -> str:
    title = " ".join([part.path, f"(kind: {', '.join(part.kinds)})" if part.kinds else ""]).strip()
    lines = [f"{title}  {part.about}".rstrip()]
    for row in part.rows:
        lines += [f"  {row.key}={row.default}", f"      {row.meaning}", f"      {row.wants}. Changes {row.changes}."]
    return "\n".join(line for line in lines if line.strip()).replace("``", "")


def page() -> str:
    """The text of docs/config.md."""
    lines = [_HEAD]
    for part in sections():
        if part.rows:
            lines += _as_markdown(part)
    return "\n".join(lines).rstrip() + "\n"


def _as_markdown(part: Section) -> list[str]:
    title = f"`{part.path}`" if part.path else "Top level"
    kinds = f" with kind {', '.join(f'`{kind}`' for kind in part.kinds)}" if part.kinds else ""
    readers = f" Read by {', '.join(part.read_by)}." if part.read_by else ""
    rows = [
        f"| `{row.key}` | {_cell(row.meaning)} | {_cell(row.wants)} | `{_cell(row.default)}` | {row.changes} |"
        for row in part.rows
    ]
    head = ["| key | meaning | value | default | changes |", "|---|---|---|---|---|"]
    return [f"## {title}{kinds}", "", f"{part.about}{readers}".strip().replace("``", "`"), "", *head, *rows, ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("``", "`")


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
