"""Run ids do not change: with a new id, a run would start over and its checkpoint would be lost.

tests/golden/run_ids.json was written by the code of commit 2be0cdd, before sections, stages and keys were marked in the
schema. A key that is added later needs a neutral value (``Key(neutral=...)``), with which every id stays as it is.
"""

import json
from pathlib import Path
from typing import Annotated

import pytest

from lwexp.config import compose
from lwexp.config.schema import Config
from lwexp.extend import Key
from lwexp.runs.identity import identity_tree, run_id
from lwexp.train.objectives.sft import SFT

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "run_ids.json").read_text())
# hardware=h200x1 was removed (tests/config/test_composed_trees.py); its ids must not come back for another optimiser.
COMMANDS = sorted({case.partition(": ")[2] for case in GOLDEN if "hardware=h200x1" not in case})
INPUTS = {"input": "0" * 64}


@pytest.mark.parametrize("command", COMMANDS)
def test_ids_are_those_of_the_first_version(command):
    config = compose(*command.split())

    wanted = {case.partition(": ")[0]: id for case, id in GOLDEN.items() if case.partition(": ")[2] == command}
    assert {stage: run_id(stage, config, INPUTS) for stage in wanted} == wanted


SERVED = {
    "engine=vllm engine.base_url=http://h:8000/v1 engine.model=hosted_vllm/m": ("40f6a05a", "83b6ad70"),
    "engine=sglang engine.base_url=http://h:30000/v1 engine.model=hosted_vllm/m": ("b2c1977d", "661b394a"),
    "engine=vllm": ("a836f0aa", "abb0ab69"),
    "engine=vllm engine.options=--enforce-eager": ("f8d33e89", "c4fa0085"),
    "engine=vllm engine.dtype=float16": ("d5b0105e", "4a0416ff"),
}
"""Ids of pairs and evaluations by the code of commit 10f6aaa, where engine=vllm without a base_url was vllm_server."""


@pytest.mark.parametrize("command", SERVED)
def test_runs_of_servers_keep_their_ids(command):
    config = compose(*command.split())

    assert (run_id("pairs", config, INPUTS), run_id("evaluate", config, INPUTS)) == SERVED[command]


class SFTWithAnExtraKey(SFT):
    extra: Annotated[float, Key(neutral=0.0)] = 0.0


class SFTWithAnUnmarkedKey(SFT):
    extra: float = 0.0


def with_objective(cls: type[SFT], **changes: float) -> Config:
    config = compose("experiment=smoke", "hardware=cpu")
    objective = cls.model_validate({**config.objective.model_dump(), **changes})
    return config.model_copy(update={"objective": objective})


def test_a_new_key_at_its_neutral_value_leaves_the_id():
    before = run_id("train", compose("experiment=smoke", "hardware=cpu"), INPUTS)

    assert run_id("train", with_objective(SFTWithAnExtraKey), INPUTS) == before
    assert run_id("train", with_objective(SFTWithAnExtraKey, extra=0.5), INPUTS) != before
    # The control: a key without a neutral value would have started every run again.
    assert run_id("train", with_objective(SFTWithAnUnmarkedKey), INPUTS) != before


@pytest.mark.parametrize(
    "override", ["hardware.threads=1", "training.log_every_steps=7", "name=other", "root=elsewhere"]
)
def test_what_cannot_change_a_result_leaves_the_id(override):
    plain = compose("experiment=smoke", "hardware=cpu")

    assert run_id("train", compose("experiment=smoke", "hardware=cpu", override), INPUTS) == run_id(
        "train", plain, INPUTS
    )


@pytest.mark.parametrize("override", ["seed=1", "objective.optimizer.lr=0.5", "pack.max_tokens=1023"])
def test_what_can_change_a_result_changes_the_id(override):
    plain = compose("experiment=smoke", "hardware=cpu")

    assert run_id("train", compose("experiment=smoke", "hardware=cpu", override), INPUTS) != run_id(
        "train", plain, INPUTS
    )


def test_keys_that_choose_among_samples_can_be_left_out():
    plain, other = compose(), compose("pairs.rejected=worst")

    assert identity_tree("pairs", plain) != identity_tree("pairs", other)
    assert identity_tree("pairs", plain, choices=False) == identity_tree("pairs", other, choices=False)
