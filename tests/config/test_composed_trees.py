"""No composed value moves when the YAML files or the schema's defaults do.

tests/golden/composed.json was written by the code of commit 3676473, when every value stood in a YAML file: the tree
without overrides, and for each composition what differs from it.
"""

import json
from pathlib import Path

import pytest

from tests.config.composed import applied, compositions, difference, flat

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "composed.json").read_text(encoding="utf-8"))
COMPOSITIONS = compositions()


def test_every_composition_of_the_golden_file_is_still_there():
    assert set(GOLDEN["differs"]) <= set(COMPOSITIONS)
    assert len(GOLDEN["differs"]) > 120


def test_the_base_tree_is_as_before():
    assert difference(GOLDEN["base"], flat()) == {}


@pytest.mark.parametrize("name", GOLDEN["differs"])
def test_every_composed_value_is_as_before(name):
    assert difference(applied(GOLDEN["base"], GOLDEN["differs"][name]), flat(*COMPOSITIONS[name])) == {}


@pytest.mark.parametrize("override", ["seed=1", "pack.max_tokens=32767", "~mixture.sources.drafts"])
def test_a_value_that_moved_would_be_noticed(override):
    """Negative control, for a changed value and for a key that is gone."""
    assert difference(GOLDEN["base"], flat(override)) != {}


def test_a_difference_can_be_applied():
    base, other = {"a": 1, "b": {}, "c": None}, {"a": 1.0, "c": None, "d": [1]}

    assert difference(base, other) == {"a": 1.0, "d": [1], "-": ["b"]}
    assert applied(base, difference(base, other)) == other
