"""The four tests that make lwexp/conf/ trustworthy: all compose, values survive, groups are pinned, bans hold."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lwexp.config import compose
from lwexp.config.compose import compose_tree
from lwexp.config.folders import CONF

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "sweeps")
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = [choice for group, choice in CHOICES if group == "experiment"]
SWEEPS = sorted(str(path.relative_to(CONF / "sweeps"))[:-5] for path in (CONF / "sweeps").rglob("*.yaml"))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_group_file_composes_and_passes_the_gate(group, choice):
    needed = {("mixture", "file"): ["mixture.path=my.jsonl"], ("model", "hf"): ["model.path=my_model"]}
    compose(f"{group}={choice}", *needed.get((group, choice), []))


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_composes_and_its_keys_exist(sweep):
    config = compose(f"+sweeps={sweep}")

    values = yaml.safe_load((CONF / "sweeps" / f"{sweep}.yaml").read_text())["hydra"]
    grid = list(values.get("sweeper", {}).get("params", {}))
    listed = [item.partition("=")[0] for trial in values["launcher"].get("trials", []) for item in trial.split()]
    assert grid or listed, f"sweeps/{sweep}.yaml varies nothing"
    for key in grid + listed:
        node = config.model_dump()
        for part in key.split("."):
            assert part in node, f"sweeps/{sweep}.yaml sweeps {key}, which no config has"
            node = node[part]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_says_its_question_cost_and_command(sweep):
    text = (CONF / "sweeps" / f"{sweep}.yaml").read_text()

    for word in ("# Question: ", "Cost: ", "Command: python train.py -m +sweeps="):
        assert word in text, f"sweeps/{sweep}.yaml lacks {word!r}"


@pytest.mark.parametrize("sweep", [sweep for sweep in SWEEPS if "/" not in sweep and sweep != "smoke"])
def test_every_sweep_exists_at_both_scales(sweep):
    assert f"miniature/{sweep}" in SWEEPS


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_value_of_an_experiment_survives_composition(experiment):
    """Catches a wrong order of the root's defaults list, which lets the root win in silence."""
    tree = compose_tree(f"experiment={experiment}")

    for key, value in leaves(values_of(experiment)):
        assert lookup(tree, key) == value, f"{experiment}.yaml sets {key}={value}"


def test_the_survival_test_would_notice_a_lost_value():
    """Negative control: the composed value of another experiment-free tree differs."""
    key, value = next(iter(leaves(values_of("miniature"))))

    assert lookup(compose_tree(), key) != value


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_pins_every_group_it_edits(experiment):
    edited = {key.split(".")[0] for key, _ in leaves(values_of(experiment))} & set(GROUPS)

    assert edited <= pinned_groups(experiment)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=str)
def test_no_config_file_holds_code_time_environment_or_secrets(path: Path):
    text = path.read_text()

    for banned in ("_target_", "oc.env", "${now", "${eval"):
        assert banned not in text
    assert not re.search(r"(?m)^\s*(api_key|token|secret|password)\s*:", text)
    assert not re.search(r"\bsk-[A-Za-z0-9]", text)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=str)
def test_every_config_file_opens_with_a_comment_for_the_help(path: Path):
    from lwexp.config.folders import first_comment

    assert len(first_comment(path)) > 15


def pinned_groups(name: str) -> set[str]:
    """Groups that an experiment overrides, those of the experiments it builds on included."""
    groups: set[str] = set()
    for entry in yaml.safe_load((CONF / "experiment" / f"{name}.yaml").read_text())["defaults"]:
        if isinstance(entry, dict):
            assert all(key.startswith("override /") for key in entry)
            groups |= {key.removeprefix("override /") for key in entry}
        elif entry != "_self_":
            groups |= pinned_groups(entry)
    return groups


def values_of(experiment: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    values.pop("defaults", None)
    return values


def leaves(tree: dict, prefix: str = ""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def lookup(tree: dict, key: str):
    for part in key.split("."):
        tree = tree[part]
    return tree


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_that_rechooses_a_group_replaces_every_value_of_its_base(experiment):
    """Otherwise the base's SFT learning rate would end up in the DPO objective without a word."""
    loaded = yaml.safe_load((CONF / "experiment" / f"{experiment}.yaml").read_text())
    own = {key for key, _ in leaves(values_of(experiment))}
    chosen = {
        str(k).removeprefix("override /") for entry in loaded["defaults"] if isinstance(entry, dict) for k in entry
    }
    for base in (entry for entry in loaded["defaults"] if isinstance(entry, str) and entry != "_self_"):
        inherited = {key for key, _ in leaves(values_of(base)) if key.split(".")[0] in chosen}
        assert inherited <= own, f"{experiment}.yaml must set {sorted(inherited - own)} itself"
