"""Keys that the YAML files leave out are in the composed tree, and can be overridden like keys of a file."""

import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.config.compose import compose_tree
from lwexp.config.folders import CONF
from lwexp.records import LwexpError

GOLDEN = Path(__file__).parents[1] / "golden" / "composed.json"
MINE = "mixture.sources.mine={kind: file, path: f.jsonl}"


def test_a_data_source_needs_only_the_keys_that_matter():
    mine = compose(f"+{MINE}").mixture.sources["mine"].model_dump(mode="json")

    assert mine == {
        "kind": "file", "path": "f.jsonl", "count": None, "min_words": None, "max_words": None,
        "format": "auto", "on_bad_row": "skip",
    }  # fmt: skip


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_new_source_needs_no_plus_and_its_other_keys_can_be_set_after_it(plus):
    source = compose(f"{plus}{MINE}", "mixture.sources.mine.format=sharegpt", "mixture.sources.mine.count=7")

    assert source.mixture.sources["mine"].count == 7
    assert source.mixture.sources["mine"].model_dump(mode="json")["format"] == "sharegpt"


def test_a_plus_that_is_not_needed_does_no_harm():
    assert compose("+seed=3").seed == 3
    assert compose("+objective.max_steps=3").objective.max_steps == 3


def test_free_options_need_no_plus():
    assert compose("teacher=gpt4o", "teacher.options.reasoning_effort=low").model_dump()["teacher"]["options"] == {
        "reasoning_effort": "low"
    }


def test_defaults_belong_to_the_chosen_class():
    assert compose_tree("objective=dpo")["objective"]["ld_alpha"] == 1.0
    assert "ld_alpha" not in compose_tree()["objective"]
    assert compose_tree("hardware=cpu")["hardware"] == {
        "kind": "cpu", "threads": None, "attention": "auto", "kernels": "eager", "precision": "32-true",
    }  # fmt: skip


def test_a_variant_is_two_lines():
    lines = (CONF / "hardware" / "zero3_offload.yaml").read_text().splitlines()

    assert [line for line in lines if line and line[0] not in "# d"] == [
        "offload_optimizer: 1.0", "offload_parameters: true",
    ]  # fmt: skip


def test_the_yaml_files_of_then_are_at_least_400_lines_shorter():
    """1,317 lines at commit 2be0cdd. Only choices of then count, which the golden file names."""
    names = {name.split(" ")[0] for name in json.loads(GOLDEN.read_text())["differs"]}
    files = [CONF / "config.yaml", *(CONF / f"{name.replace('=', '/', 1)}.yaml" for name in names if "=" in name)]

    assert len(files) > 60
    lines = sum(len(path.read_text().splitlines()) for path in files if path.exists())
    removed_since = 10  # hardware/h200x1.yaml
    assert lines <= 917 - removed_since


@pytest.mark.parametrize("override", ["pack.max_tokns=64", "mixture.sources.draft.count=5", "teacher.option=3"])
def test_a_mistyped_key_is_still_refused(override):
    """Negative control: the defaults do not open the tree for other keys."""
    with pytest.raises(LwexpError):
        compose(override)


def test_hydra_is_as_it_was_after_composing():
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    before = ConfigLoaderImpl._apply_overrides_to_config
    compose()
    with pytest.raises(LwexpError):
        compose("pack.max_tokns=64")

    assert ConfigLoaderImpl._apply_overrides_to_config is before
