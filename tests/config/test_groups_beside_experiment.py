"""``model=`` and its like beside ``experiment=``: they work where the experiment sets no value in the group."""

import pytest

from lwexp.config import compose
from lwexp.config.folders import CONF
from lwexp.config.overrides.groups import refuse_half_undone
from lwexp.records import LwexpError

EXPERIMENT = """# @package _global_
# An experiment of a user, on one of lwexp's.
defaults:
  - miniature
  - override /judge: gpt4o
  - _self_
sample: {repeats: 1}
judge: {max_tokens: 900}
"""


def refused(experiment: str, *overrides: str, folders=(CONF,)) -> str | None:
    choices = {"experiment": experiment, "model": "?", "judge": "?", "bench": "?", "teacher": "?", "hardware": "?"}
    try:
        refuse_half_undone([f"experiment={experiment}", *overrides], choices, folders)
    except LwexpError as error:
        return str(error)
    return None


@pytest.mark.parametrize("override", ["model=tiny_llama", "bench=longbench_write", "judge=none", "hardware=gpu1"])
def test_a_group_without_values_may_be_chosen(override):
    assert refused("miniature", override) is None

    group, choice = override.split("=")
    composed = compose("experiment=miniature", override)
    assert getattr(composed, group) == getattr(compose(override), group)
    assert composed.pack.max_tokens == 1024, choice


def test_the_choice_that_the_experiment_has_anyway_is_no_mistake():
    assert refused("smoke", "bench=miniature") is None
    assert "bench.topics" in str(refused("smoke", "bench=jsonl"))


def test_an_experiment_in_a_folder_of_the_users_counts_with_what_it_builds_on(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    folders = [CONF, tmp_path]

    assert refused("mine", "model=tiny_llama", folders=folders) is None
    assert "judge=none: experiment=mine sets judge.max_tokens for judge=gpt4o" in str(
        refused("mine", "judge=none", folders=folders)
    )
    assert "teacher.paragraph_words for teacher=offline" in str(refused("mine", "teacher=gpt4o", folders=folders))
