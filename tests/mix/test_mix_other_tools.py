"""Rows as TRL, ms-swift and OpenAI's fine-tuning files have them, and rows that must not be trained on by accident."""

from typing import Any

import pytest

from lwexp.extend.columns import BrokenRowError
from lwexp.extend.rows import AutoFormat, AutoPairFormat, format_of
from lwexp.mix.formats.messages import Messages
from lwexp.mix.to_records import to_conversation, to_pair

ASK, ANSWER = {"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}
EXCHANGE = [("user", "Tea?"), ("assistant", "Yes.")]


def turns(row: dict[str, Any]) -> list[tuple[str, str]]:
    format = format_of(row, AutoFormat())
    assert format is not None, "no format claims the row"
    return [(message.role, message.content) for message in to_conversation(row, format, id="x-1", source="x").messages]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param({"prompt": "Tea?", "completion": "Yes."}, id="TRL, plain"),
        pytest.param({"prompt": "Tea?", "response": "Yes."}, id="prompt and response"),
        pytest.param({"prompt": [ASK], "response": [ANSWER]}, id="prompt and response, conversational"),
        pytest.param({"prompt": [ASK], "completion": [ANSWER]}, id="TRL, conversational"),
        pytest.param({"query": "Tea?", "response": "Yes."}, id="ms-swift"),
        pytest.param({"query": "Tea?", "response": "Yes.", "history": []}, id="ms-swift, first turn"),
        pytest.param({"messages": [{**ASK, "content": [{"type": "text", "text": "Tea?"}]}, ANSWER]}, id="text parts"),
        pytest.param({"messages": [{"role": "system", "content": ""}, ASK, ANSWER]}, id="empty system text"),
        pytest.param({"messages": [ASK, {**ANSWER, "weight": 1}]}, id="weight 1"),
    ],
)
def test_one_exchange_in_each_tools_own_form(row: dict[str, Any]) -> None:
    assert turns(row) == EXCHANGE


def test_history_system_and_developer_come_first() -> None:
    earlier = {"query": "Tea?", "response": "Yes.", "history": [["Milk?", "No."]], "system": "Be brief."}
    assert turns(earlier) == [("system", "Be brief."), ("user", "Milk?"), ("assistant", "No."), *EXCHANGE]
    developer = {"messages": [{"role": "developer", "content": "Be brief."}, ASK, ANSWER]}
    assert turns(developer) == [("system", "Be brief."), *EXCHANGE]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Tea?", "completion": "No idea.", "label": False}, "kto_row"),
        ({"prompt": "Tea?", "response": "No idea.", "label": False}, "kto_row"),
        ({"prompt": [ASK], "completion": [ANSWER], "label": True}, "kto_row"),
        ({"messages": [ASK, ANSWER], "kto_tag": True}, "kto_row"),
        ({"messages": [ASK, {"role": "tool", "content": "42"}, ANSWER]}, "tool_row"),
        ({"messages": [ASK, {**ANSWER, "tool_calls": [{"id": "1"}]}]}, "tool_row"),
        ({"conversations": [{"from": "human", "value": "Tea?"}, {"from": "observation", "value": "42"}]}, "tool_row"),
        ({"messages": [ASK, {**ANSWER, "weight": 0}]}, "untrained_answer"),
        ({"messages": [ASK, {**ANSWER, "loss": False}]}, "untrained_answer"),
        ({"query": "Tea?", "response": "Yes.", "history": "Milk?"}, "wrong_type"),
        ({"messages": [{**ASK, "content": [{"type": "image_url"}]}, ANSWER]}, "wrong_type"),
    ],
)
def test_rows_that_are_no_plain_conversation_are_left_out_by_name(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BrokenRowError) as caught:
        turns(row)
    assert caught.value.reason == reason


@pytest.mark.parametrize("mark", [{"weight": 0}, {"weight": 0.0}, {"loss": False}], ids=str)
def test_an_answer_of_weight_0_is_context_and_counts_for_no_length(mark: dict[str, Any]) -> None:
    """OpenAI's fine-tuning files and ms-swift's; a weight of 1, null or false trains as usual."""
    earlier = {"role": "assistant", "content": "One two three four five.", **mark}
    for last in ({}, {"weight": 1}, {"weight": None}, {"weight": False}, {"loss": True}, {"loss": None}):
        row = {"messages": [{**ASK, "weight": 0}, earlier, ASK, {**ANSWER, **last}]}
        made = to_conversation(row, Messages(), id="x-1", source="x")
        assert [message.weight for message in made.messages] == [None, 0, None, None]
        assert made.actual_words == 1
        assert made.model_dump()["messages"][1] == {"role": "assistant", "content": earlier["content"], "weight": 0}
        assert made.model_dump()["messages"][3] == ANSWER


def test_rejected_messages_are_a_pair_and_must_answer_the_same() -> None:
    row = {"messages": [ASK, ANSWER], "rejected_messages": [ASK, {"role": "assistant", "content": "No."}]}
    format = format_of(row, AutoPairFormat())
    assert format is not None
    pair = to_pair(row, format, id="x-1", source="x")
    assert (pair.prompt[0].content, pair.chosen, pair.rejected) == ("Tea?", "Yes.", "No.")
    other = {**row, "rejected_messages": [{"role": "user", "content": "Milk?"}, ANSWER]}
    with pytest.raises(BrokenRowError, match="answer different messages"):
        to_pair(other, format, id="x-1", source="x")
