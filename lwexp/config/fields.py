"""The schema as a tree of dotted keys: which keys there are, and what each is for."""

import difflib
import functools
import types
import typing
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lwexp.config.base import Tree
from lwexp.extend import Key, OneOf, Registry
from lwexp.extend.settings import key_of

EACH = "*"
"""Stands for any name in the keys of a mapping: ``mixture.sources.*.path``."""


def walk(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key below a schema with its field, including all branches of unions."""
    for name, field in schema.model_fields.items():
        yield prefix + name, field
        for part, model in models_in(field.annotation, field.metadata):
            yield from walk(model, f"{prefix}{name}.{part}")


def models_in(annotation: object, metadata: typing.Iterable[object] = ()) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections that a field may hold, each with the key part between it and the field (a mapping's name)."""
    for item in metadata:
        if isinstance(item, OneOf):
            yield from (("", cls) for _, cls in item.registry.items())
            return
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from models_in(arguments[0], arguments[1:])
    elif origin in (typing.Union, types.UnionType):
        for option in arguments:
            yield from models_in(option)
    elif origin is dict:
        yield from ((f"{EACH}.{part}", model) for part, model in models_in(arguments[1]))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation


def known_keys(schema: type[BaseModel]) -> list[str]:
    """Every dotted key that is not inside a mapping of free names, sorted."""
    return sorted({key for key, _ in walk(schema) if EACH not in key})


def closest(key: str, known: list[str]) -> str | None:
    """The known key most like ``key``, or None if none is similar.

    A wrong parent with the right last word counts as similar: ``lr`` finds ``objective.optimizer.lr``.
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


def each_section(tree: Tree, schema: type[BaseModel]) -> Iterator[tuple[Tree, type[BaseModel]]]:
    """Every mapping of a config tree with the class it is meant for, outer ones first.

    A mapping may be changed before the next one is requested. Mappings of unknown ``kind`` are left out.
    """
    yield tree, schema
    for name, field in schema.model_fields.items():
        value = tree.get(name)
        if not isinstance(value, dict):
            continue
        found = list(models_in(field.annotation, field.metadata))
        models = [model for _, model in found]
        below = list(value.values()) if any(part.startswith(EACH) for part, _ in found) else [value]
        for item in below:
            if isinstance(item, dict) and (model := _chosen(item, models)):
                yield from each_section(item, model)


def _chosen(section: Tree, models: list[type[BaseModel]]) -> type[BaseModel] | None:
    if len(models) == 1 and "kind" not in models[0].model_fields:
        return models[0]
    return next((model for model in models if section.get("kind") in kinds_of(model)), None)


class Union(typing.NamedTuple):
    """A section on the way to a key that may be of several classes."""

    path: tuple[str, ...]
    kind: typing.Any
    """The ``kind`` of the chosen class."""
    models: list[type[BaseModel]]
    rest: tuple[str, ...]
    """The rest of the key, below this section."""


class Place(typing.NamedTuple):
    """How far a key that does not exist can be followed."""

    path: tuple[str, ...]
    model: type[BaseModel]
    """The class at ``path``."""
    names: list[str]
    """Names that may follow ``path``."""
    rest: tuple[str, ...]
    """The rest of the key; its first part is wrong."""
    unions: list[Union]


def follow(key: str, tree: Tree, schema: type[BaseModel]) -> Place:
    """Follow a dotted key through the classes that a config has chosen, to its first part that does not exist."""
    parts, path, unions = key.split("."), list[str](), list[Union]()
    node: typing.Any = tree
    model = schema
    while len(parts) > 1 and (field := model.model_fields.get(parts[0])) is not None:
        found = list(models_in(field.annotation, field.metadata))
        node = node.get(parts[0]) if isinstance(node, dict) else None
        if not isinstance(node, dict) or not found:
            break
        path.append(parts.pop(0))
        if any(part.startswith(EACH) for part, _ in found):
            if parts[0] not in node or len(parts) == 1:
                return Place(tuple(path), model, list(node), tuple(parts), unions)
            node = node[parts[0]]
            path.append(parts.pop(0))
        models = [one for _, one in found]
        chosen = _chosen(node, models) if isinstance(node, dict) else None
        if chosen is None:
            break
        if len(models) > 1:
            unions.append(Union(tuple(path), node.get("kind"), models, tuple(parts)))
        model = chosen
    return Place(tuple(path), model, list(model.model_fields), tuple(parts), unions)


def kinds_of(model: type[BaseModel]) -> tuple[typing.Any, ...]:
    """The names by which a section is chosen."""
    field = model.model_fields.get("kind")
    return typing.get_args(field.annotation) if field is not None else ()


def is_open_mapping(schema: type[BaseModel], dotted: str, *, of_values: bool = False) -> bool:
    """Whether a key holds a mapping whose names the user chooses; with ``of_values``, only if it holds no sections."""
    wanted = dotted.split(".")
    for parts, holds_sections in _mappings(schema, _version()):
        if len(parts) == len(wanted) and all(p in (EACH, w) for p, w in zip(parts, wanted, strict=True)):
            return not (of_values and holds_sections)
    return False


@functools.lru_cache(maxsize=8)
def _mappings(schema: type[BaseModel], version: int) -> list[tuple[list[str], bool]]:
    """The keys of mappings, in parts, and whether they hold sections; kept, because each override is looked up here."""
    fields = [(key, field) for key, field in walk(schema) if typing.get_origin(field.annotation) is dict]
    return [(key.split("."), is_section(field)) for key, field in fields]


def _version() -> int:
    """Increases whenever a class is registered."""
    return sum(registry.version for registry in Registry.every)


def written(field: FieldInfo, tree: typing.Any) -> typing.Any:
    """A field's value as in config.json, where a class without other settings may be written as its name alone."""
    by_name = any(isinstance(item, OneOf) and item.by_name for item in field.metadata)
    return tree["kind"] if by_name and isinstance(tree, dict) and set(tree) == {"kind"} else tree


def names_settings(field: FieldInfo, value: object) -> bool:
    """Whether ``value`` is the name of a class that has settings besides it."""
    registries = [item.registry for item in field.metadata if isinstance(item, OneOf) and item.by_name]
    return any(
        isinstance(value, str) and value in registry and len(registry[value].model_fields) > 1
        for registry in registries
    )


def is_section(field: FieldInfo) -> bool:
    """Whether a field holds keys of its own."""
    return next(models_in(field.annotation, field.metadata), None) is not None


def key_at(schema: type[BaseModel], dotted: str) -> Key:
    """What a key affects. An enclosing section that is marked other than ``result`` decides for all keys in it.

    Keys that the schema does not have (of an older version or of a plugin) count as shaping results.
    """
    marks = _marks(schema)
    parts = dotted.split(".")
    for end in range(1, len(parts) + 1):
        found = marks.get(".".join(parts[:end]))
        if found is not None and found.affects != "result":
            return found
    return marks.get(dotted, Key())


@functools.cache
def _marks(schema: type[BaseModel]) -> dict[str, Key]:
    return {key: key_of(field) for key, field in walk(schema)}


def commands_that_read(schema: type[BaseModel], top: str) -> tuple[str, ...]:
    """Commands that read a top-level key; empty if there is no such key."""
    field = schema.model_fields.get(top)
    return key_of(field).read_by if field is not None else ()


def sections_of(schema: type[BaseModel], stage: str) -> list[str]:
    """Top-level keys that shape the results of a stage."""
    return [name for name, field in schema.model_fields.items() if stage in key_of(field).shapes]


def keep_up_to_date(schema: type[BaseModel]) -> None:
    """Rebuild the validators below a schema if a plugin may have registered a class since they were built.

    The first call also rebuilds them: a section that was used by itself before knows only the classes of that time.
    """
    if _built.get(schema) != _version():
        for model in dict.fromkeys(_sections(schema)):
            model.model_rebuild(force=True)
        _marks.cache_clear()
    _built[schema] = _version()


_built: dict[type[BaseModel], int] = {}


def _sections(schema: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models below a schema and the schema itself, inner ones first, because outer validators contain theirs."""
    for field in schema.model_fields.values():
        for _, model in models_in(field.annotation, field.metadata):
            yield from _sections(model)
    yield schema
