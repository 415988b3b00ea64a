"""A class that a plugin registers is validated, suggested in errors and stored like a built-in one."""

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field

from lwexp.config.base import ConfigError, validate
from lwexp.config.fields import key_at, known_keys
from lwexp.extend import Key, OneOf, Registry, Strict, register


class Shape(Strict):
    kind: str


@pytest.fixture
def shapes():
    registry = Registry("shape", Shape, ())
    yield registry
    Registry.every.remove(registry)


@pytest.fixture
def schema(shapes):
    @register
    class Circle(Shape):
        kind: Literal["circle"] = "circle"

    @register
    class Box(Shape):
        kind: Literal["box"]
        sides: tuple[int, ...] = (1, 1)
        colour: Annotated[str, Key("label")] = "red"

    class Drawing(Strict):
        shape: Annotated[Shape, OneOf(shapes, by_name=True)]
        others: dict[str, Annotated[Shape, OneOf(shapes)]] = Field(default_factory=dict)

    return Drawing


def test_a_name_alone_or_a_mapping_chooses_a_class(schema):
    assert validate({"shape": "circle"}, schema).shape.kind == "circle"
    assert validate({"shape": {"kind": "box", "sides": [2, 3]}}, schema).shape.sides == (2, 3)
    assert validate({"shape": "box", "others": {"a": {"kind": "box"}}}, schema).others["a"].sides == (1, 1)


def test_what_is_written_can_be_read_back(schema):
    for tree in ({"shape": "circle"}, {"shape": {"kind": "box", "sides": [2, 3]}, "others": {"a": "circle"}}):
        drawing = validate(tree, schema)

        assert validate(json.loads(drawing.model_dump_json()), schema) == drawing
    assert validate({"shape": "circle"}, schema).model_dump() == {"shape": "circle", "others": {}}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"shape": "cone"}, "shape: 'cone' is not a known shape; there are circle, box;"),
        ({"shape": {"kind": "cone"}}, "shape.kind: 'cone' is not a known shape; there are circle, box;"),
        ({"shape": {}}, "shape.kind: None is not a known shape"),
        ({"shape": {"kind": "box", "sides": [1.5]}}, "shape.sides.0: must be a valid integer, got 1.5"),
        ({"shape": {"kind": "box", "side": [1]}}, "shape.side: no such key; did you mean shape.sides?"),
        (
            {"shape": {"kind": "circle", "sides": [1]}},
            "shape.sides: shape.kind=circle has no sides; shape.kind=box has it",
        ),
    ],
)
def test_mistakes_are_reported_as_for_any_key(schema, tree, message):
    with pytest.raises(ConfigError) as refused:
        validate(tree, schema)

    assert str(refused.value).startswith(message)


def test_a_class_that_comes_later_is_known_at_the_next_validation(schema):
    validate({"shape": "circle"}, schema)
    with pytest.raises(ConfigError, match="'star' is not a known shape"):
        validate({"shape": "star"}, schema)

    @register
    class Star(Shape):
        kind: Literal["star"] = "star"
        points: int = 5

    assert validate({"shape": {"kind": "star", "points": 7}}, schema).shape.points == 7
    assert "shape.points" in known_keys(schema)


def test_keys_of_registered_classes_say_what_they_affect(schema):
    assert key_at(schema, "shape.colour").affects == "label"
    assert key_at(schema, "shape.sides").affects == "result"
    assert key_at(schema, "shape.unknown").affects == "result"


def test_a_taken_name_and_a_class_without_a_registry_are_refused(schema):
    with pytest.raises(TypeError, match="the shape 'circle' is taken"):

        @register
        class Other(Shape):
            kind: Literal["circle"] = "circle"

    with pytest.raises(TypeError, match="none of its base classes has a registry"):

        @register
        class Lost(Strict):
            kind: Literal["lost"] = "lost"

    with pytest.raises(TypeError, match="needs its name in YAML"):

        @register
        class Nameless(Shape):
            pass
