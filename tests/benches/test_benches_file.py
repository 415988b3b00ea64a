"""Prompts from a file of the user's: order, ids, columns, and what is said about a broken line."""

import json
from pathlib import Path

import pytest

from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.records import LengthRule, LwexpError
from tests.benches.bench_files import file_bench, lines

ROWS = [
    {"prompt": "Write a 100-word post about cactus.", "type": "Community Forum", "length": 100},
    {"prompt": "对于雷锋精神的推文，200字以内", "type": "Community Forum", "length": 200},
    {"prompt": "Write 20000 words.", "length": 20000},
]


def test_a_file_bench_keeps_the_files_order_lines_and_types(tmp_path: Path) -> None:
    prompts = file_bench(tmp_path, lines(ROWS[0]) + "\n" + lines(*ROWS[1:]))
    assert [prompt.id for prompt in prompts] == ["jsonl-1", "jsonl-3", "jsonl-4"]
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


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="no prompts"):
        file_bench(tmp_path, "\n")


def test_ids_of_the_users_own_stay_and_must_differ(tmp_path: Path) -> None:
    rows = [{"id": "tea", "prompt": "Tea.", "length": 9, "language": "zh"}, {"prompt": "Rivers.", "length": 9}]
    prompts = file_bench(tmp_path, lines(*rows), "bench.name=mine")
    assert [(prompt.id, prompt.language) for prompt in prompts] == [("tea", "zh"), ("mine-2", "en")]
    with pytest.raises(LwexpError, match="prompt id tea is repeated"):
        file_bench(tmp_path, lines(rows[0], rows[0]))


# The columns of four published benches, a row each, shortened.
OTHER_BENCHES = {
    "arena_write": ({"question": "Write a story."}, {"prompt": "question"}),
    "writing_bench": (
        {"index": 7, "domain1": "Law", "lang": "en", "query": "Draft a will.", "checklist": [{"name": "Form"}]},
        {"prompt": "query", "id": "index", "type": "domain1", "language": "lang"},
    ),
    "hello_bench": ({"id": "h1", "instruction": "Tell me of tea.", "category": "qa"}, {"prompt": "instruction"}),
    "life_bench": (
        {"prompt": "Explain tea.", "meta": {"length_constraint": 64}, "control_method": "at most"},
        {"length": "meta.length_constraint", "length_kind": "control_method"},
    ),
}


@pytest.mark.parametrize("name", OTHER_BENCHES)
@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_benches_of_others_load_with_their_own_columns(tmp_path: Path, name: str, ending: str) -> None:
    row, fields = OTHER_BENCHES[name]
    path = tmp_path / f"bench.{ending}"
    path.write_text(json.dumps([row] if ending == "json" else row))
    metric = "length" if name == "life_bench" else "quality"
    mapping = ", ".join(f"{ours}: {theirs}" for ours, theirs in fields.items())
    config = compose(
        "bench=jsonl", f"bench.path={path}", f"bench.fields={{{mapping}}}", f"bench.metrics=[{metric}]", "bench.name=b"
    )
    (prompt,) = load_bench(config.bench)
    wanted = {
        "arena_write": ("b-1", "Write a story.", "unknown", None, None),
        "writing_bench": ("7", "Draft a will.", "Law", None, None),
        "hello_bench": ("h1", "Tell me of tea.", "unknown", None, None),
        "life_bench": ("b-1", "Explain tea.", "unknown", 64, LengthRule(kind="at_most", high=64)),
    }[name]
    assert (prompt.id, prompt.text, prompt.type, prompt.required_words, prompt.length_rule) == wanted


def test_a_range_of_lengths_comes_from_the_row(tmp_path: Path) -> None:
    row = {"prompt": "Explain tea.", "length": 350, "length_kind": "between", "length_range": [300, 400]}
    (tmp_path / "b.jsonl").write_text(json.dumps(row))
    (prompt,) = load_bench(compose("bench=jsonl", f"bench.path={tmp_path / 'b.jsonl'}").bench)
    assert prompt.length_rule == LengthRule(kind="between", low=300, high=400)


@pytest.mark.parametrize(
    ("row", "fields", "problem"),
    [
        ({"query": "x"}, "{}", "line 1: prompt and length missing; .* the row has query; .*bench.fields={prompt"),
        ({"text": "x"}, "{prompt: query}", "line 1: query and length missing; .* the row has text;"),
        ({"te\nxt": "x"}, '{prompt: "que\nry"}', "line 1: que ry and length missing; .* the row has te xt;"),
        ({"prompt": "x", "length": 9, "length_kind": "roughly"}, "{}", "length_kind must be about, at least"),
        ({"prompt": "x", "length": 9, "length_kind": "between"}, "{}", "between needs length_range"),
    ],
)
def test_a_column_that_is_not_there_is_named(tmp_path: Path, row: dict[str, object], fields: str, problem: str) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(row))
    bench = compose("bench=jsonl", f"bench.path={tmp_path / 'b.jsonl'}", f"bench.fields={fields}").bench
    with pytest.raises(LwexpError, match=problem):
        load_bench(bench)


def test_a_misspelt_column_of_lwexp_is_refused() -> None:
    with pytest.raises(LwexpError, match=r"bench\.fields\.lenght: no such column of lwexp"):
        compose("bench=jsonl", "bench.fields={lenght: words}")
