"""Reasoning in imported rows is separated from the answers, stored and counted; a row without an answer is broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.extend.columns import BrokenRowError
from lwexp.extend.rows import AutoFormat, AutoPairFormat, format_of
from lwexp.mix.importer import import_conversations
from lwexp.mix.to_records import to_conversation, to_pair
from lwexp.records import Conversation, Failure, PreferencePair, read_rows

THOUGHT, ANSWER = "Perhaps short.", "Tea is old."
TAGGED = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
ALONE = f"{THOUGHT}\n</think>\n\n{ANSWER}"
CHANNELS = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}"


def chat(answer: str, **further: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": answer, **further}]}


CONVERSATIONS = {
    "tags": chat(TAGGED),
    "closing tag alone": chat(ALONE),
    "channels": chat(CHANNELS),
    "a field beside": chat(ANSWER, reasoning_content=THOUGHT),
    "OpenRouter's field": chat(ANSWER, reasoning=THOUGHT),
    "sharegpt": {"conversations": [{"from": "human", "value": "Tea?"}, {"from": "gpt", "value": TAGGED}]},
    "alpaca": {"instruction": "Tea?", "output": ALONE},
    "alpaca with a column": {"instruction": "Tea?", "output": ANSWER, "reasoning_content": THOUGHT},
}


@pytest.mark.parametrize("row", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_an_answer_is_without_its_reasoning_which_stands_beside_it(row: dict[str, Any]) -> None:
    format = format_of(row, AutoFormat())
    assert format is not None
    made = to_conversation(row, format, id="x", source="x")
    assert made.messages[-1].content == ANSWER
    assert made.actual_words == 3
    assert made.reasoning == (THOUGHT,)


def test_each_answer_of_a_conversation_has_its_own() -> None:
    first, second = chat("Yes.")["messages"], chat(TAGGED)["messages"]
    row = {"messages": [*first, *second]}
    format = format_of(row, AutoFormat())
    assert format is not None
    assert to_conversation(row, format, id="x", source="x").reasoning == ("", THOUGHT)
    plain = to_conversation(chat("Yes."), format, id="x", source="x")
    assert plain.reasoning is None
    assert "reasoning" not in plain.model_dump_json()


PAIRS = {
    "TRL": {"prompt": "Tea?", "chosen": TAGGED, "rejected": "No."},
    "TRL, messages": {
        "prompt": [{"role": "user", "content": "Tea?"}],
        "chosen": [{"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT}],
        "rejected": [{"role": "assistant", "content": "No."}],
    },
    "ms-swift": chat(ALONE) | {"rejected_response": "No."},
    "ranking": {
        "conversations": [{"from": "human", "value": "Tea?"}],
        "chosen": {"from": "gpt", "value": CHANNELS},
        "rejected": {"from": "gpt", "value": "No."},
    },
}


@pytest.mark.parametrize("row", PAIRS.values(), ids=PAIRS)
def test_both_answers_of_a_pair_are_without_it(row: dict[str, Any]) -> None:
    format = format_of(row, AutoPairFormat())
    assert format is not None
    pair = to_pair(row, format, id="x", source="x")
    assert (pair.chosen, pair.rejected, pair.chosen_words) == (ANSWER, "No.", 3)
    assert (pair.chosen_reasoning, pair.rejected_reasoning) == (THOUGHT, None)
    assert "rejected_reasoning" not in pair.model_dump_json()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("<think>Perhaps", "unfinished_reasoning"), ("<think>Perhaps</think>\n", "empty_field")],
)
def test_a_row_that_never_answers_is_broken(answer: str, reason: str) -> None:
    pair = {"prompt": "Tea?", "chosen": ANSWER, "rejected": answer}
    row_format, pair_format = format_of(chat(answer), AutoFormat()), format_of(pair, AutoPairFormat())
    assert row_format is not None
    assert pair_format is not None
    with pytest.raises(BrokenRowError, match="message 1") as broken:
        to_conversation(chat(answer), row_format, id="x", source="x")
    assert broken.value.reason == reason
    with pytest.raises(BrokenRowError, match="rejected") as broken:
        to_pair(pair, pair_format, id="x", source="x")
    assert broken.value.reason == reason


def test_an_import_counts_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import pyarrow.parquet as pq

    caplog.set_level("INFO")
    source = tmp_path / "thoughts.jsonl"
    rows = [chat(TAGGED), chat(ANSWER), chat("<think>Perhaps")]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    assert run.manifest.results is not None
    assert run.manifest.results["with_reasoning"] == 1
    assert run.manifest.results["tally"] == "3 in = 2 kept + 1 unfinished reasoning"
    assert "1 row with reasoning" in caplog.text
    kept = list(read_rows(run.path / "conversations.jsonl", Conversation))
    assert [row.messages[-1].content for row in kept] == [ANSWER, ANSWER]
    assert [row.reasoning for row in kept] == [(THOUGHT,), None]
    parquet = pq.read_table(run.path / "conversations.parquet").to_pylist()
    assert [Conversation.model_validate(row) for row in parquet] == kept
    (failure,) = read_rows(run.path / "import_failures.jsonl", Failure)
    assert (failure.id, failure.reason) == ("thoughts-3", "unfinished_reasoning")


def test_an_imported_pair_keeps_it_in_both_files(tmp_path: Path) -> None:
    source = tmp_path / "pairs.jsonl"
    source.write_text(json.dumps(PAIRS["TRL"]) + "\n", encoding="utf-8")
    run = import_conversations(compose(f"root={tmp_path}/runs", "task=import", f"source='{source}'"))
    assert run is not None
    (pair,) = read_rows(run.path / "pairs.jsonl", PreferencePair)
    (conversation,) = read_rows(run.path / "conversations.jsonl", Conversation)
    assert pair.chosen_reasoning == THOUGHT
    assert conversation.reasoning == (THOUGHT,)
