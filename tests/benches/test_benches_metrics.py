"""A bench's metrics: what they need from its rows, and which choices fit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from lwexp.config import compose
from lwexp.extend import METRICS, ComputedMetric, register
from lwexp.records import LwexpError, Response
from lwexp.runs.identity import run_id
from tests.benches.bench_files import file_bench, lines


class Vowels(ComputedMetric):
    kind: Literal["vowels"] = "vowels"
    name = "vowels"
    meaning = "Vowels that the prompt's row names."
    needs_columns = ("vowels",)

    def score(self, response: Response) -> float:
        return sum(letter in str(response.details["vowels"]) for letter in response.text)


@pytest.fixture
def _vowels() -> Iterator[None]:
    register(Vowels)
    yield
    METRICS.remove("vowels")


@pytest.mark.usefixtures("_vowels")
def test_a_file_without_lengths_is_read_where_no_metric_needs_them(tmp_path: Path) -> None:
    rows = [{"prompt": "Write.", "vowels": "ae"}, {"prompt": "Write more.", "vowels": "i", "length": 30}]
    prompts = file_bench(tmp_path, lines(*rows), "bench.metrics=[vowels]", "bench.ranges=[]")
    assert [prompt.required_words for prompt in prompts] == [None, 30]
    assert [prompt.details for prompt in prompts] == [{"vowels": "ae"}, {"vowels": "i"}]
    with pytest.raises(LwexpError, match="line 1: length missing; wanted prompt, length and"):
        file_bench(tmp_path, lines(*rows))
    with pytest.raises(LwexpError, match="line 1: length missing"):
        file_bench(tmp_path, lines({"prompt": "x", "length": None}))
    with pytest.raises(LwexpError, match="line 1: vowels missing; wanted prompt, vowels and"):
        file_bench(tmp_path, lines({"prompt": "x"}), "bench.metrics=[vowels]", "bench.ranges=[]")
    with pytest.raises(LwexpError, match="1 that ask for no length, in en"):
        file_bench(tmp_path, lines(rows[0]), "bench.metrics=[vowels]", "bench.range=4k+")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("bench.metrics=[]", "wanted one metric or more"),
        ("bench.metrics=[length,length]", "each once, got length, length"),
        ("bench.metrics=[length,mean]", "mean needs quality; add it"),
        ("bench.metrics=[lenght]", "there are length, mean, quality"),
        ("bench.ranges=[]", "bench.ranges: wanted one range or more"),
        ("bench.kind=rular", "ruler"),
    ],
)
def test_metrics_that_do_not_fit_are_a_mistake_in_the_config(override: str, said: str) -> None:
    with pytest.raises(LwexpError) as error:
        compose(override)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_named_choice_of_metrics_is_another_run_and_null_is_the_same_as_before() -> None:
    config = compose("bench.metrics=[quality]")
    assert [metric.name for metric in config.bench.scored_by] == ["S_q"]
    assert config.bench.model_dump()["metrics"] == ("quality",)
    assert run_id("evaluate", config, {}) != run_id("evaluate", compose(), {})
