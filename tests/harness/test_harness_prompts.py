"""What the tasks of both tools share, without the tools: prompts, decoding, files."""

import importlib.util
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

from lwexp.config import compose
from lwexp.harness.prompts import load_asked
from lwexp.records import LwexpError
from tests import ROOT
from tests.harness.harness_answers import ROWS, UNFINISHED, write_bench


class Loader(yaml.SafeLoader):
    """Reads ``!function`` as the name that follows."""


Loader.add_constructor("!function", lambda _, node: node.value)


@pytest.fixture(scope="module")
def folder():
    found: list[str] = []
    runpy.run_module("lwexp.harness", run_name="__main__", init_globals={"print": found.append})
    return Path(found[0])


def test_prompts_ranges_and_decoding_are_those_of_evaluate(tmp_path):
    """The fourth and fifth prompt ask for 40 words. The paper samples at temperature 0.5, 32,768 tokens at most."""
    asked = load_asked("jsonl", {"path": str(write_bench(tmp_path / "b.jsonl")), "range": "20-50", "language": None})

    assert [prompt.text for prompt in asked.prompts] == [ROWS[3][0], ROWS[4][0]]
    assert {asked.range_of(prompt) for prompt in asked.prompts} == {"[0,500)"}
    assert asked.decoding == compose().sample
    assert (asked.decoding.temperature, asked.decoding.max_new_tokens) == (0.5, 32768)
    assert len(load_asked("jsonl", {"path": str(tmp_path / "b.jsonl")}).prompts) == len([*ROWS, UNFINISHED])


def test_a_setting_that_a_bench_does_not_have_is_refused(tmp_path):
    with pytest.raises(LwexpError, match=r"bench\.colour"):
        load_asked("jsonl", {"path": str(write_bench(tmp_path / "b.jsonl")), "colour": "red"})


def test_the_folder_for_lm_evaluation_harness_has_its_tasks_and_the_papers_decoding(folder):
    files = {path.stem: yaml.load(path.read_text(), Loader) for path in folder.glob("*.yaml")}
    decoding, sample = files.pop("common")["generation_kwargs"], compose().sample

    assert {name: task["task"] for name, task in files.items()} == {name: name for name in files}
    assert set(files) == {"longbench_write", "longwrite_ruler", "own_prompts"}
    assert (decoding["temperature"], decoding["top_p"]) == (sample.temperature, sample.top_p)
    assert (decoding["max_gen_toks"], decoding["until"]) == (sample.max_new_tokens, [])


def test_inspect_ai_finds_the_tasks_by_the_packages_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert importlib.util.find_spec(project["entry-points"]["inspect_ai"]["lwexp"]) is not None
