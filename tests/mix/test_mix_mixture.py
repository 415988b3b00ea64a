"""Counts, limits, order and shares of a mixture, on files small enough to read."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lwexp.config import Config, compose
from lwexp.mix.mixture import Mixture, take
from lwexp.mix.resolve import resolve_mixture
from lwexp.pack.rows import ConversationRows, PairRows
from lwexp.records import Conversation, LwexpError, write_rows
from lwexp.runs import open_run
from lwexp.runs.artifacts import Artifact


def write_answers(path: Path, lengths: list[int], broken: int = 0) -> Path:
    """An alpaca file with one row for each answer length, broken rows last."""
    rows: list[Any] = [{"instruction": f"Task {n}", "output": "word " * length} for n, length in enumerate(lengths)]
    rows += [{"instruction": "Task"}] * broken
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def file_source(path: Path, **changes: Any) -> str:
    source = {
        "kind": "file", "path": str(path), "format": "auto", "count": None,
        "min_words": None, "max_words": None, "on_bad_row": "error",
    } | changes  # fmt: skip
    return "{" + ", ".join(f"{key}: {'null' if value is None else value}" for key, value in source.items()) + "}"


def config_of(tmp_path: Path, *overrides: str, **sources: str) -> Config:
    added = [f"+mixture.sources.{name}={source}" for name, source in sources.items()]
    return compose(f"root={tmp_path}/runs", "~mixture.sources.drafts", *added, *overrides)


def mix(tmp_path: Path, seed: int = 0, **sources: str) -> Mixture[Conversation]:
    return take(resolve_mixture(config_of(tmp_path, **sources)), seed, ConversationRows())


def ids(mixture: Mixture[Conversation]) -> list[str]:
    return [row.id for row in mixture.rows]


def test_counts_and_limits_are_kept_and_every_row_is_accounted_for(tmp_path: Path) -> None:
    """Answers of 1..6 words, 2 broken rows; 2 <= words <= 5 leaves 4, of which 3 are drawn."""
    path = write_answers(tmp_path / "a.jsonl", [1, 2, 3, 4, 5, 6], broken=2)
    mixture = mix(tmp_path, a=file_source(path, count=3, min_words=2, max_words=5, on_bad_row="skip"))
    assert len(mixture.rows) == 3
    assert all(2 <= row.actual_words <= 5 for row in mixture.rows)
    assert str(mixture.tally) == "8 in = 3 kept + 2 broken + 1 not drawn + 1 too long + 1 too short"
    assert [failure.detail for failure in mixture.failures] == [
        f"{path} line 7: output is missing",
        f"{path} line 8: output is missing",
    ]
    assert {row.source for row in mixture.rows} == {"a"}


def test_the_table_says_what_each_source_gives(tmp_path: Path) -> None:
    """a gives 1, 2 and 3 words, b gives 14: 3 of 4 rows, but 6 of 20 words."""
    a, b = write_answers(tmp_path / "a.jsonl", [1, 2, 3, 9]), write_answers(tmp_path / "b.jsonl", [14])
    mixture = mix(tmp_path, a=file_source(a, max_words=3), b=file_source(b))
    first, second = mixture.table
    assert (first.source, first.available, first.filtered, first.taken) == ("a", 4, 1, 3)
    assert (first.words_min, first.words_median, first.words_max) == (1, 2.0, 3)
    assert (first.share_of_rows, first.share_of_words) == (0.75, 0.3)
    assert (second.share_of_rows, second.share_of_words) == (0.25, 0.7)
    console = Console(width=80, record=True)
    console.print(mixture.render())
    assert "1 / 2 / 3" in console.export_text()


def test_the_draw_follows_the_seed_alone(tmp_path: Path) -> None:
    a, b = write_answers(tmp_path / "a.jsonl", [5] * 40), write_answers(tmp_path / "b.jsonl", [5] * 40)
    drawn = ids(mix(tmp_path, a=file_source(a, count=10)))
    assert ids(mix(tmp_path, a=file_source(a, count=10))) == drawn
    assert ids(mix(tmp_path, seed=1, a=file_source(a, count=10))) != drawn
    # Another source changes neither which rows are drawn nor their order.
    both = ids(mix(tmp_path, a=file_source(a, count=10), b=file_source(b, count=10)))
    assert [id for id in both if id.startswith("a-")] == drawn
    assert both != drawn + [id for id in both if id.startswith("b-")]  # and the sources are interleaved
    # A larger count takes the same rows and more; all of them stand in seeded, not in file, order.
    assert ids(mix(tmp_path, a=file_source(a, count=20)))[:10] == drawn
    everything = ids(mix(tmp_path, a=file_source(a)))
    assert everything != sorted(everything)
    assert everything[:10] == drawn


def test_too_large_a_count_names_both_numbers(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [1, 2, 3], broken=1)
    with pytest.raises(LwexpError, match=r"mixture\.sources\.a: wanted count=3, but only 2 of 4 rows") as error:
        mix(tmp_path, a=file_source(path, count=3, min_words=2, on_bad_row="skip"))
    assert "1 broken, 1 outside the word limits" in str(error.value)
    assert "line 4: output is missing" in str(error.value)
    assert len(mix(tmp_path, a=file_source(path, count=2, min_words=2, on_bad_row="skip")).rows) == 2


def test_a_source_that_gives_nothing_is_a_mistake(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [1, 2])
    with pytest.raises(LwexpError, match="wanted at least one row"):
        mix(tmp_path, a=file_source(path, min_words=3))


def test_a_broken_row_stops_the_run_where_that_is_asked_for(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [1], broken=1)
    with pytest.raises(LwexpError, match=r"line 2: output is missing; .*mixture\.sources\.a\.on_bad_row=skip"):
        mix(tmp_path, a=file_source(path))


def test_a_count_of_zero_leaves_a_source_out(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [1])
    sources = {"a": file_source(path), "b": file_source(tmp_path / "missing.jsonl", count=0)}
    assert [item.name for item in resolve_mixture(config_of(tmp_path, **sources))] == ["a"]
    with pytest.raises(LwexpError, match="no source with a count above 0"):
        resolve_mixture(config_of(tmp_path, b=sources["b"]))


def test_a_missing_file_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"mixture\.sources\.a\.path=.*none\.jsonl does not exist"):
        resolve_mixture(config_of(tmp_path, a=file_source(tmp_path / "none.jsonl")))


def test_a_folder_named_as_a_file_is_refused_with_the_kind_that_reads_it(tmp_path: Path) -> None:
    with pytest.raises(
        LwexpError, match=r"mixture\.sources\.a\.path=.* is a folder; set mixture\.sources\.a\.kind=hub$"
    ):
        resolve_mixture(config_of(tmp_path, a=file_source(tmp_path)))
    pairs = ["objective=dpo", "~mixture.pairs.long", f"+mixture.pairs.a={{kind: file, path: {tmp_path}}}"]
    with pytest.raises(LwexpError, match=r"mixture\.pairs\.a\.path=.* is a folder; give the path of one file in it$"):
        resolve_mixture(compose(f"root={tmp_path}/runs", *pairs))


def test_a_source_without_one_readable_row_is_not_told_to_lower_its_count(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [3, 4])
    with pytest.raises(LwexpError) as error:
        mix(tmp_path, a=file_source(path, count=2, format="sharegpt", on_bad_row="skip"))
    assert str(error.value) == (
        f"mixture.sources.a: no row of {path} can be read (2 in all); the first: {path} line 1: conversations is "
        "missing; this row is in format alpaca, not sharegpt"
    )


def test_fingerprints_follow_the_content(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [1, 2])
    config = config_of(tmp_path, a=file_source(path))
    before = resolve_mixture(config)[0].found.fingerprint
    assert resolve_mixture(config)[0].found.fingerprint == before
    write_answers(path, [1, 3])
    assert resolve_mixture(config)[0].found.fingerprint != before


def test_drafts_come_from_the_newest_finished_run_and_keep_what_they_know(tmp_path: Path) -> None:
    config = compose(f"root={tmp_path}/runs")
    with pytest.raises(LwexpError, match=r"mixture\.sources\.drafts\.run=newest: no finished data run"):
        resolve_mixture(config)
    draft = Conversation(
        id="d1", source="synthetic", language="en", required_words=50, actual_words=2, cost_usd=0.5,
        messages=({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "two words"}),
    )  # fmt: skip
    with open_run("data", config, default_name="data", inputs={}) as run:
        write_rows(run.path / "conversations.jsonl", [draft])
        run.finish(Artifact())
    (item,) = resolve_mixture(config)
    assert item.run is not None
    assert item.run.id == run.id
    assert take([item], 0, ConversationRows()).rows == [draft.model_copy(update={"source": "drafts"})]
    (run.path / "conversations.jsonl").unlink()
    with pytest.raises(LwexpError, match=r"conversations\.jsonl is missing"):
        resolve_mixture(config)


def test_pairs_are_mixed_for_dpo(tmp_path: Path) -> None:
    rows = [{"prompt": f"Task {n}", "chosen": "good " * n, "rejected": "bad"} for n in (1, 2, 3)]
    rows.append({"prompt": "Task", "chosen": "same", "rejected": "same"})
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    config = compose(
        f"root={tmp_path}/runs", "objective=dpo", "~mixture.pairs.long",
        f"+mixture.pairs.general={{kind: file, path: {path}, count: 2, on_bad_row: skip}}",
    )  # fmt: skip
    mixture = take(resolve_mixture(config), 0, PairRows())
    assert len(mixture.rows) == 2
    assert str(mixture.tally) == "4 in = 2 kept + 1 broken + 1 not drawn"
    assert mixture.failures[0].reason == "equal_answers"
    assert mixture.table[0].words_max == max(pair.chosen_words for pair in mixture.rows)


def test_a_source_needs_a_kind_and_a_place(tmp_path: Path) -> None:
    path = write_answers(tmp_path / "a.jsonl", [1, 2, 3], broken=1)
    mixture = mix(tmp_path, mine=f"{{kind: file, path: {path}}}")
    assert str(mixture.tally) == "4 in = 3 kept + 1 broken"
