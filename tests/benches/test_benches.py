"""Prompts of a bench: how many, in which order, under which ids."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from lwexp.benches.select import load_bench
from lwexp.config import compose
from lwexp.extend import METRICS, ComputedMetric, register
from lwexp.records import LengthRule, LwexpError, Prompt, Response
from lwexp.runs.identity import run_id
from lwexp.text.words import count_words

ROWS = [
    {"prompt": "Write a 100-word post about cactus.", "type": "Community Forum", "length": 100},
    {"prompt": "对于雷锋精神的推文，200字以内", "type": "Community Forum", "length": 200},
    {"prompt": "Write 20000 words.", "length": 20000},
]


def file_bench(tmp_path: Path, text: str, *overrides: str) -> list[Prompt]:
    path = tmp_path / "bench.jsonl"
    path.write_text(text, encoding="utf-8")
    return load_bench(compose("bench=jsonl", f"bench.path={path}", *overrides).bench)


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


def test_a_missing_file_says_where_it_is_published() -> None:
    with pytest.raises(LwexpError, match=r"github\.com/THUDM/LongWriter.*set bench\.path=<file"):
        load_bench(compose("bench=longwrite_ruler", "bench.path=none.jsonl").bench)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match="no prompts"):
        file_bench(tmp_path, "\n")


def test_the_miniature_bench_is_the_one_that_version_1_names() -> None:
    """Scores of one version are compared: when this fails, raise ``version`` in lwexp/conf/bench/miniature.yaml."""
    bench = compose("bench=miniature").bench
    text = "\n".join(f"{prompt.id} {prompt.text}" for prompt in load_bench(bench))
    assert (bench.version, hashlib.sha256(text.encode()).hexdigest()[:8]) == ("1", "3ea32617")


def published_shape(folder: Path) -> Path:
    """A file as LongBench-Write has it: five prompts, three of them English, one of these asking in Chinese."""
    rows = [
        ("Write 100 words on tea.", "News", 100), ("写一篇200字的短文", "Education", 200),
        ("请用英文写2000字", "News", 2000), ("写一篇4000字的小说", "Literature", 4000),
        ("Write 20000 words.", "News", 20000),
    ]  # fmt: skip
    every = [{"prompt": text, "type": kind, "length": length} for text, kind, length in rows]
    (folder / "longbench_write.jsonl").write_text(lines(*every), encoding="utf-8")
    (folder / "longbench_write_en.jsonl").write_text(lines(every[0], every[2], every[4]), encoding="utf-8")
    return folder


def published(folder: Path, *overrides: str, bench: str = "longbench_write") -> list[Prompt]:
    return load_bench(compose(f"bench={bench}", f"bench.path={folder}", "bench.sha256=null", *overrides).bench)


def numbers(prompts: list[Prompt]) -> list[int]:
    return [int(prompt.id.removeprefix("longbench_write-")) for prompt in prompts]


def test_the_language_is_that_of_the_file_not_of_the_letters(tmp_path: Path) -> None:
    """Prompt 3 is written in Chinese and asks for English text; the English file has it."""
    folder = published_shape(tmp_path)
    assert [prompt.language for prompt in published(folder)] == ["en", "zh", "en", "zh", "en"]
    assert [p.language for p in published(folder / "longbench_write.jsonl")] == ["en", "zh", "en", "zh", "en"]
    by_letters = published(folder, "bench.english_prompts_file=null")
    assert [prompt.language for prompt in by_letters] == ["en", "zh", "zh", "zh", "en"]
    assert numbers(published(folder, bench="longbench_write_en")) == [1, 3, 5]
    assert numbers(published(folder, bench="longbench_write_zh")) == [2, 4]


def test_a_file_without_its_english_neighbour_says_where_to_get_it(tmp_path: Path) -> None:
    (published_shape(tmp_path) / "longbench_write_en.jsonl").unlink()
    with pytest.raises(
        LwexpError, match=r"longbench_write_en\.jsonl at https://github.*bench\.english_prompts_file=null"
    ):
        published(tmp_path)


def test_another_file_under_the_published_name_is_refused(tmp_path: Path) -> None:
    published_shape(tmp_path)
    with pytest.raises(LwexpError, match="is not longbench_write v3fcfdff: sha256"):
        load_bench(compose("bench=longbench_write", f"bench.path={tmp_path}").bench)


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        ('bench.range="[2000,4000)"', [3]),
        ('bench.range="[2000,4000]"', [3, 4]),
        ("bench.range=2k-4k", [3, 4]),
        ("bench.range=4k+", [4, 5]),
        ('bench.range="<200"', [1]),
        ('bench.range=">200"', [3, 4, 5]),
        ("bench.range=200", [2]),
        ("bench.type=News", [1, 3, 5]),
        ("bench.language=zh", [2, 4]),
    ],
)
def test_a_selection_keeps_order_and_ids(tmp_path: Path, selection: str, kept: list[int]) -> None:
    assert numbers(published(published_shape(tmp_path), selection)) == kept


def test_a_subset_is_drawn_by_its_own_seed(tmp_path: Path) -> None:
    text = lines(*({"prompt": f"Prompt {n}.", "length": 100} for n in range(40)))
    drawn = [[p.id for p in file_bench(tmp_path, text, "bench.subset=10", f"bench.subset_seed={n}")] for n in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0], key=lambda id: int(id.split("-")[1]))
    more = [p.id for p in file_bench(tmp_path, text, "bench.subset=11", "seed=5")]
    assert set(drawn[0]) < set(more)  # one more is added, and the run's seed takes no part


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        ("bench.type=Poetry", "of type Education, Literature, News"),
        ("bench.range=30k+", "5 of 100 to 20,000 words"),
        ("bench.subset=9", "only 5 prompts"),
    ],
)
def test_an_empty_selection_says_what_there_is(tmp_path: Path, selection: str, said: str) -> None:
    with pytest.raises(LwexpError) as error:
        published(published_shape(tmp_path), selection)
    assert said in str(error.value)


@pytest.mark.parametrize("text", ["2000", "4k,2k", "[4k,2k)", "[5,5)", "many", "2k-", "[1,2", "0"])
def test_a_range_that_cannot_be_read_is_a_mistake_in_the_config(text: str) -> None:
    """2000 alone is the control: it can be read."""
    if text == "2000":
        compose(f'bench.range="{text}"')
        return
    with pytest.raises(LwexpError, match=r"bench\.range"):
        compose(f'bench.range="{text}"')


def test_ids_of_the_users_own_stay_and_must_differ(tmp_path: Path) -> None:
    rows = [{"id": "tea", "prompt": "Tea.", "length": 9, "language": "zh"}, {"prompt": "Rivers.", "length": 9}]
    prompts = file_bench(tmp_path, lines(*rows), "bench.name=mine")
    assert [(prompt.id, prompt.language) for prompt in prompts] == [("tea", "zh"), ("mine-2", "en")]
    with pytest.raises(LwexpError, match="prompt id tea is repeated"):
        file_bench(tmp_path, lines(rows[0], rows[0]))


def test_a_hub_data_set_is_read_from_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is laid out as the hub's client lays it out; nothing is reached."""
    import huggingface_hub.constants as constants

    snapshot = tmp_path / "datasets--owner--name" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    published_shape(snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert numbers(published(Path("owner/name"))) == [1, 2, 3, 4, 5]
    with pytest.raises(LwexpError, match="the hub gave no longbench_write"):
        published(Path("owner/other"))


def test_a_prompt_without_details_is_written_as_before_there_were_any() -> None:
    """Prompts are part of a run's identity by this text: another one would start every evaluation again."""
    for prompt in load_bench(compose("bench.topics=1").bench)[:3]:
        named = {"id": prompt.id, "text": prompt.text, "language": "en", "type": "ruler"}
        wanted = {**named, "required_words": prompt.required_words}
        assert prompt.model_dump_json() == json.dumps(wanted, ensure_ascii=False, separators=(",", ":"))
    assert '"details":{"a":1}' in prompt.model_copy(update={"details": {"a": 1}}).model_dump_json()


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
