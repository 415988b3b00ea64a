"""Prompts of a bench: how many, in which order, under which ids."""

import hashlib
import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.records import LwexpError, Prompt
from lwexp.sample import load_bench
from lwexp.words import count_words

ROWS = [
    {"prompt": "Write a 100-word post about cactus.", "type": "Community Forum", "length": 100},
    {"prompt": "对于雷锋精神的推文，200字以内", "type": "Community Forum", "length": 200},
    {"prompt": "Write 20000 words.", "length": 20000},
]


def file_bench(tmp_path: Path, text: str) -> list[Prompt]:
    path = tmp_path / "bench.jsonl"
    path.write_text(text, encoding="utf-8")
    return load_bench(compose("bench=longbench_write", f"bench.path={path}").bench)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_the_ruler_asks_every_topic_for_every_length_in_every_language() -> None:
    """2 topics x 2 lengths x 2 languages."""
    prompts = load_bench(compose("bench.topics=2", "bench.required_words=[50,400]").bench)
    assert [prompt.id for prompt in prompts] == [
        "ruler-en-1-50", "ruler-en-1-400", "ruler-en-2-50", "ruler-en-2-400",
        "ruler-zh-1-50", "ruler-zh-1-400", "ruler-zh-2-50", "ruler-zh-2-400",
    ]  # fmt: skip
    for prompt in prompts:
        assert str(prompt.required_words) in prompt.text
        assert prompt.id == f"ruler-{prompt.language}-{prompt.id.split('-')[2]}-{prompt.required_words}"
        assert count_words(prompt.text) > 3


def test_a_ruler_prompt_is_the_same_in_a_smaller_bench() -> None:
    small = load_bench(compose("bench.topics=1", "bench.required_words=[400]", "bench.languages=[zh]").bench)
    every = {prompt.id: prompt for prompt in load_bench(compose().bench)}
    assert len(every) == 8 * 4 * 2
    assert [every[prompt.id] for prompt in small] == small


def test_a_file_bench_keeps_the_files_order_lines_and_types(tmp_path: Path) -> None:
    prompts = file_bench(tmp_path, lines(ROWS[0]) + "\n" + lines(*ROWS[1:]))
    assert [prompt.id for prompt in prompts] == ["longbench_write-1", "longbench_write-3", "longbench_write-4"]
    assert [prompt.language for prompt in prompts] == ["en", "zh", "en"]
    assert [prompt.required_words for prompt in prompts] == [100, 200, 20000]
    assert [prompt.type for prompt in prompts] == ["Community Forum", "Community Forum", "unknown"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"prompt": "x"}', "line 2: length missing"),
        ('{"length": 5}', "line 2: prompt missing"),
        ('["x"]', "line 2: prompt and length missing"),
        ('{"prompt": " ", "length": 5}', "line 2: prompt must be text"),
        ('{"prompt": "x", "length": 0}', "line 2: required_words: Input should be greater than 0, got length=0"),
        ('{"prompt": "x", "length": "many"}', "got length='many'"),
        ("{", "line 2: is not JSON"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(LwexpError) as error:
        file_bench(tmp_path, lines(ROWS[0]) + row)
    assert problem in str(error.value)


def test_a_missing_file_says_where_it_is_published() -> None:
    with pytest.raises(LwexpError, match=r"github\.com/THUDM/LongWriter.*set bench\.path=<file>"):
        load_bench(compose("bench=longwrite_ruler", "bench.path=none.jsonl").bench)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="no prompts"):
        file_bench(tmp_path, "\n")


def test_the_miniature_bench_is_the_one_that_version_1_names() -> None:
    """Scores of one version are compared: when this fails, raise ``version`` in conf/bench/miniature.yaml."""
    bench = compose("bench=miniature").bench
    text = "\n".join(f"{prompt.id} {prompt.text}" for prompt in load_bench(bench))
    assert (bench.version, hashlib.sha256(text.encode()).hexdigest()[:8]) == ("1", "3ea32617")
