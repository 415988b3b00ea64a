"""No composed value changes when values move between the YAML files and the schema's defaults.

tests/golden/composed.json was written by the code of commit 3676473, when every value stood in a YAML file: the tree
without overrides, and for each composition what differs from it. Keys that were renamed since are read through
``upgrade``, as those of a run's stored config are.
"""

import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.base import ConfigError
from lwexp.config.compose import read_config
from lwexp.config.fields import walk
from lwexp.config.schema import Config
from lwexp.config.upgrade import upgrade
from lwexp.extend.settings import key_of
from lwexp.records import LwexpError
from tests.config.composed import (
    SWEEPS,
    Flat,
    applied,
    compositions,
    difference,
    flat,
    flattened,
    nested,
    of_sweep,
    of_sweeps_file,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "composed.json").read_text(encoding="utf-8"))
COMPOSITIONS = compositions()
MARKS = [(key, key_of(field)) for key, field in walk(Config)]  # a key of several classes has several marks

# hardware=h200x1 kept half of the optimiser on the host, and the rest never followed the learning-rate schedule.
REMOVED = {"hardware=h200x1": "hardware=gpu1_141g"}

# engine=vllm starts its server since then, or uses the one that engine.base_url names: a class with other keys.
STARTED = {
    "-": ["engine.price", "engine.supports_top_k"], "engine.kind": "server", "engine.base_url": None,
    "engine.model": None, "engine.path": None, "engine.chat": None, "engine.command": None,
    "engine.dtype": "auto", "engine.tensor_parallel": None, "engine.data_parallel": None, "engine.memory_share": None,
    "engine.start_seconds": 1800.0, "engine.context": None, "engine.options": "", "engine.server": "vllm",
}  # fmt: skip
CHANGED = {"engine=vllm": STARTED, "engine=sglang": STARTED | {"engine.server": "sglang"}}

# What the preset of a model sets keys to that were added since.
ADDED_BY_MODEL = {"glm4": {"model.context_length": 131_072}}


def one_thread(name: str) -> Flat:
    """The miniature's experiments and their sweeps train with one thread since, whatever the number of cores."""
    return {"hardware.threads": 1} if name.startswith(("experiment=miniature", "sweeps=miniature/")) else {}


def before(change: Flat) -> Flat:
    """A composition as it was, under the names of today and with the keys of a model of today."""
    tree = flattened(upgrade(nested(applied(GOLDEN["base"], change))))
    return tree | ADDED_BY_MODEL.get(tree["model.name"], {})


def moved(change: Flat, now: Flat) -> Flat:
    """Values that are not as before. A key added since changes no result, or stands at its neutral value."""
    earlier = before(change)

    def is_harmless(key: str, value: object) -> bool:
        return any(
            (mark.has_neutral and value == mark.neutral) or (key not in earlier and mark.affects == "speed")
            for name, mark in MARKS
            if name == key
        )

    return {key: value for key, value in difference(earlier, now).items() if not is_harmless(key, value)}


def test_every_composition_of_the_golden_file_is_still_there():
    assert set(GOLDEN["differs"]) - set(REMOVED) <= set(COMPOSITIONS)
    assert not set(REMOVED) & set(COMPOSITIONS)
    assert len(GOLDEN["differs"]) > 120


@pytest.mark.parametrize("name", SWEEPS)
def test_the_compositions_of_a_sweep_are_those_of_its_own_file(name):
    launcher, params = of_sweeps_file(name)
    composed, composed_params = of_sweep(name)
    assert composed_params == params
    assert composed == composed | launcher
    assert not (composed["trials"] and "trials" not in launcher)
    assert not (composed["setup_commands"] and "setup_commands" not in launcher)


def test_the_base_tree_is_as_before():
    assert moved({}, flat()) == {}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_choice_differs_in_these_values_and_no_other(name):
    found = difference(before(GOLDEN["differs"][name]), flat(*COMPOSITIONS[name]))
    of_engine = {key: value for key, value in found.items() if key.startswith("engine.")}
    assert {**of_engine, "-": sorted(found["-"])} == CHANGED[name]
    assert set(moved(GOLDEN["differs"][name], flat(*COMPOSITIONS[name]))) <= {*of_engine, "-"}


@pytest.mark.parametrize("name", sorted(GOLDEN["differs"].keys() - REMOVED.keys() - CHANGED.keys()))
def test_every_composed_value_is_as_before(name):
    assert moved(GOLDEN["differs"][name], flat(*COMPOSITIONS[name])) == one_thread(name)


@pytest.mark.parametrize("name", REMOVED)
def test_a_removed_choice_is_refused_with_those_there_are(name):
    with pytest.raises(LwexpError) as refused:
        compose(name)

    assert REMOVED[name].partition("=")[2] in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("override", ["seed=1", "pack.max_tokens=32767", "~mixture.sources.drafts", "rerun=true"])
def test_a_value_that_moved_would_be_noticed(override):
    """Negative control, for a changed value and for a key that is gone."""
    assert moved({}, flat(override)) != {}


def test_a_difference_can_be_applied():
    base, other = {"a": 1, "b": {}, "c": None}, {"a": 1.0, "c": None, "d": [1]}

    assert difference(base, other) == {"a": 1.0, "d": [1], "-": ["b"]}
    assert applied(base, difference(base, other)) == other


@pytest.mark.parametrize("name", ["experiment=smoke_dpo", "teacher=gpt4o", "hardware=cpu_zero3"])
def test_a_stored_config_of_the_first_version_is_read(name):
    stored = nested(applied(GOLDEN["base"], GOLDEN["differs"][name]))

    assert "schema_version" not in stored
    assert read_config(stored) == compose(*COMPOSITIONS[name])
    assert read_config(compose(*COMPOSITIONS[name]).model_dump(mode="json")) == compose(*COMPOSITIONS[name])


def test_a_stored_config_of_a_later_version_is_refused():
    with pytest.raises(ConfigError, match="written by a later lwexp"):
        read_config({**compose().model_dump(mode="json"), "schema_version": 99})
