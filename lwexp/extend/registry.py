"""Registries: small typed classes by name, which a config chooses among.

A class is a settings model with behaviour. Its ``kind`` is the name in YAML:

    @register
    class SimPO(PreferenceLoss):
        kind: Literal["simpo"] = "simpo"
        gamma: float = 0.5
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import NoneType
from typing import Any, ClassVar, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from lwexp.extend.settings import Strict

B = TypeVar("B", bound=Strict)
C = TypeVar("C", bound=type[Strict])


class Registry(Generic[B]):
    """The classes of one kind of thing, by name.

    Args:
        what: Name of one such class in messages, such as "model family".
        base: Base class of all of them.
        builtin: Modules whose import registers lwexp's own; imported at the first look-up, so that a room's
            settings cost nothing if they are not used.
    """

    every: ClassVar[list[Registry[Any]]] = []

    def __init__(self, what: str, base: type[B], builtin: tuple[str, ...]) -> None:
        self.what = what
        self.base = base
        self.version = 0
        """Increases with each class, so that a schema built earlier can be recognised as out of date."""
        self._builtin = list(builtin)
        self._classes: dict[str, type[B]] = {}
        Registry.every.append(self)

    def add(self, name: str, cls: type[B]) -> None:
        """Register a class.

        Raises:
            TypeError: If another class has the name.
        """
        self._load_builtin()  # first, so that the error about a taken name is raised for the plugin
        known = self._classes.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"the {self.what} {name!r} is taken, by {known.__module__}; choose another kind")
        self._classes[name] = cls
        self.version += 1

    def __getitem__(self, name: str) -> type[B]:
        return self._all()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def items(self) -> list[tuple[str, type[B]]]:
        """Name and class of each, built-in ones first."""
        return list(self._all().items())

    def remove(self, name: str) -> None:
        """Unregister a class; for tests."""
        del self._classes[name]
        self.version += 1

    def _all(self) -> dict[str, type[B]]:
        self._load_builtin()
        return self._classes

    def _load_builtin(self) -> None:
        while self._builtin:
            importlib.import_module(self._builtin.pop(0))


def register(cls: C) -> C:
    """Class decorator: register a class with the registry of its base class, under its ``kind``.

    Raises:
        TypeError: If no base class has a registry, ``kind`` is not one literal string, or the name is taken.
    """
    homes = [registry for registry in Registry.every if issubclass(cls, registry.base)]
    if not homes:
        raise TypeError(f"{cls.__name__}: none of its base classes has a registry; docs/extend.md lists those that do")
    # If one base class extends another, the nearest wins.
    home = min(homes, key=lambda registry: cls.__mro__.index(registry.base))
    home.add(kind_of(cls), cls)
    return cls


def kind_of(cls: type[Strict]) -> str:
    """The name of a class in YAML."""
    field = cls.model_fields.get("kind")
    names = get_args(field.annotation) if field is not None else ()
    if len(names) != 1 or not isinstance(names[0], str):
        raise TypeError(f'{cls.__name__}: needs its name in YAML; add kind: Literal["..."] = "..."')
    return names[0]


class OneOf:
    """Annotation of a field that holds a registered class: ``Annotated[Objective, OneOf(OBJECTIVES)]``.

    In YAML it is a mapping with ``kind``, or the name alone if all other settings have defaults, or null if the
    annotation is ``Objective | None``.

    Args:
        registry: The classes to choose from.
        by_name: Whether to write it back as the name alone if there are no other settings.
    """

    def __init__(self, registry: Registry[Any], *, by_name: bool = False) -> None:
        self.registry = registry
        self.by_name = by_name

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices: dict[Any, CoreSchema] = {}
        for name, cls in self.registry.items():
            choices[name] = handler.generate_schema(cls)
            choices[_alone(name)] = core_schema.no_info_after_validator_function(
                _from_name(cls), core_schema.literal_schema([name])
            )
        one = core_schema.tagged_union_schema(
            choices, _tag, custom_error_type="unknown_kind", custom_error_message="is not a known {what}",
            custom_error_context={"what": self.registry.what, "choices": ", ".join(self.registry)},
            serialization=core_schema.wrap_serializer_function_ser_schema(self._written),
        )  # fmt: skip
        return core_schema.nullable_schema(one) if NoneType in get_args(source) else one

    def _written(self, value: Any, write: Any) -> Any:
        tree = write(value)
        return value.kind if self.by_name and isinstance(tree, dict) and set(tree) == {"kind"} else tree


def _from_name(cls: type[Strict]) -> Any:
    return lambda name: cls.model_validate({"kind": name})


def _alone(name: str) -> str:
    return f"name:{name}"


def _tag(value: object) -> str | None:
    if isinstance(value, str):
        return _alone(value)
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
