"""Which imported rows are kept: the filter of the 666-row study, refusals, limits; each loss with its reason."""

import json
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.mix.importer import import_conversations
from lwexp.records import Conversation, Failure, read_rows
from lwexp.text.stated_lengths import stated_lengths


def row(question: str, words: int, answer: str = "word") -> dict:
    answer = " ".join([answer] * words) if answer == "word" else answer
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_the_filter_keeps_one_stated_length_that_the_answer_comes_near(tmp_path: Path) -> None:
    """S_l by hand: 80 of 100 words is 100*(1 - (100/80 - 1)/2) = 87.5; 160 is 100*(1 - 0.6/3) = 80, just enough;
    161 is 79.67; 70 is 78.6; nothing at all is stated by row 5; two lengths by row 6.
    """
    rows = [
        row("Write a 100-word note.", 80),
        row("Write 100 words on tea.", 160),
        row("Write 100 words on tea.", 161),
        row("写一篇100字的短文。", 70),
        row("Write on tea.", 100),
        row("Write 100 words on tea, or a talk of 300 words.", 100),
        row("Write 100 words on tea.", 0, "I'm sorry, but I can't help with that."),
    ]
    source = tmp_path / "set.jsonl"
    source.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in rows), encoding="utf-8")
    run = import_conversations(
        compose(f"root={tmp_path}/runs", "task=import", f"source={source}", "filter=stated_length")
    )

    assert run is not None
    kept = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert [(item.id, item.required_words, item.actual_words) for item in kept] == [
        ("set-1", 100, 80),
        ("set-2", 100, 160),
    ]
    lost = {item.id: item for item in read_rows(run.path / "import_failures.jsonl", Failure)}
    assert {id: item.reason for id, item in lost.items()} == {
        "set-3": "off_length", "set-4": "off_length", "set-5": "no_stated_length",
        "set-6": "several_stated_lengths", "set-7": "refusal",
    }  # fmt: skip
    assert lost["set-3"].detail.endswith("161 words where 100 were asked for: S_l 79.7, filter.min_length_score=80")
    assert run.manifest.results is not None
    assert run.manifest.results["tally"] == (
        "7 in = 2 kept + 1 no stated length + 2 off length + 1 refusal + 1 several stated lengths"
    )


@pytest.mark.parametrize(
    ("override", "kept"),
    [("filter.min_words=3", [3, 4]), ("filter.max_words=2", [1, 2]), ("filter=none", [1, 2, 3, 4])],
)
def test_word_limits(tmp_path: Path, override: str, kept: list[int]) -> None:
    source = tmp_path / "set.json"
    source.write_text(json.dumps([row("Hi", words) for words in (1, 2, 3, 4)]), encoding="utf-8")
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source={source}", override))

    assert run is not None
    assert [item.actual_words for item in read_rows(run.path / "conversations.jsonl", Conversation)] == kept


def test_the_filter_is_part_of_the_runs_identity(tmp_path: Path) -> None:
    source = tmp_path / "set.json"
    source.write_text(json.dumps([row("Write 2 words", 2)]), encoding="utf-8")
    one, other = (
        import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source={source}", f"filter={choice}"))
        for choice in ("none", "stated_length")
    )

    assert one is not None
    assert other is not None
    assert one.id != other.id


def test_different_lengths_are_counted_once_each() -> None:
    assert stated_lengths("An essay of 800 words or a talk of 500 words; 800 words is better") == [800, 500]
