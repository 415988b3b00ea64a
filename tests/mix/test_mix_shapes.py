"""Rows in the formats of other tools become conversations and pairs; errors name what is missing."""

from typing import Any

import pytest

from lwexp.extend.columns import BrokenRowError
from lwexp.extend.rows import AutoFormat, AutoPairFormat, RowFormat, format_of
from lwexp.mix.formats.alpaca import Alpaca
from lwexp.mix.to_records import to_conversation, to_pair
from lwexp.records import Conversation, Message

MESSAGES = {"messages": [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "Hello to you"}]}
SHAREGPT = {"conversations": [{"from": "human", "value": "Hi there"}, {"from": "gpt", "value": "Hello to you"}]}
ALPACA = {"instruction": "Hi", "input": "there", "output": "Hello to you"}


def detect(row: Any) -> RowFormat | None:
    return format_of(row, AutoFormat())


def convert(row: Any) -> Conversation:
    format = detect(row)
    assert format is not None
    return to_conversation(row, format, id="x-1", source="x")


def said(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in conversation.messages]


def test_three_shapes_of_one_exchange_become_the_same_messages() -> None:
    assert said(convert(MESSAGES)) == [("user", "Hi there"), ("assistant", "Hello to you")]
    assert said(convert(SHAREGPT)) == said(convert(MESSAGES))
    # alpaca puts its input on a line of its own
    assert said(convert(ALPACA)) == [("user", "Hi\nthere"), ("assistant", "Hello to you")]
    assert said(convert(ALPACA | {"input": ""})) == [("user", "Hi"), ("assistant", "Hello to you")]


def test_system_text_and_history_come_first_and_in_order() -> None:
    row = ALPACA | {"input": None, "system": "Be kind.", "history": [["q1", "a1"], ["q2", "a2"]]}
    roles = [role for role, _ in said(convert(row))]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user", "assistant"]
    assert said(convert(row))[3] == ("user", "q2")
    assert said(convert(SHAREGPT | {"system": "Be kind."}))[0] == ("system", "Be kind.")


def test_words_are_those_of_the_longest_answer_and_the_language_is_the_users() -> None:
    turns = [("user", "写代码"), ("assistant", "one two three"), ("user", "好"), ("assistant", "one")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    assert convert(row).actual_words == 3
    assert convert(row).language == "zh"


@pytest.mark.parametrize(
    ("row", "reason", "problem"),
    [
        ({"messages": [{"content": "Hi"}]}, "missing_field", "messages[0].role is missing"),
        ({"messages": [{"role": "user"}]}, "missing_field", "messages[0].content is missing"),
        (
            {"messages": [{"role": "user", "content": ["Hi"]}]},
            "wrong_type",
            "messages[0].content is a list, wanted text",
        ),
        ({"messages": [{"role": "user", "content": " "}]}, "empty_field", "messages[0].content is empty"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "tool_row", "messages[0] calls a tool"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "unknown_role", "messages[0].role is 'narrator'"),
        ({"messages": "Hi"}, "wrong_type", "messages is text, wanted a list of messages"),
        ({"messages": []}, "bad_turns", "has no turn, wanted assistant at the end"),
        ({"messages": MESSAGES["messages"][:1]}, "bad_turns", "ends with user, wanted assistant at the end"),
        ({"messages": MESSAGES["messages"][1:]}, "bad_turns", "message 0 is from assistant, wanted user"),
        ({"conversations": [{"from": "human"}]}, "missing_field", "conversations[0].value is missing"),
        ({"instruction": "Hi", "output": ""}, "empty_field", "output is empty"),
        ({"instruction": "Hi"}, "missing_field", "output is missing"),
        ({"output": "Hi"}, "missing_field", "instruction is missing"),
        (ALPACA | {"history": [["only a question"]]}, "wrong_type", "history[0] is a list, wanted [question, answer]"),
    ],
)
def test_a_broken_row_names_the_column(row: Any, reason: str, problem: str) -> None:
    with pytest.raises(BrokenRowError) as error:
        convert(row)
    assert error.value.reason == reason
    assert problem in str(error.value)


def test_columns_decide_the_shape_and_empty_columns_do_not() -> None:
    for row, kind in (
        (MESSAGES | {"instruction": None}, "messages"),
        ({"messages": None, "instruction": "Hi", "output": "x"}, "alpaca"),
    ):
        found = detect(row)
        assert found is not None
        assert found.kind == kind
    assert detect({"text": "Hi"}) is None
    assert detect(["Hi"]) is None
    with pytest.raises(BrokenRowError, match="is a list, wanted an object"):
        to_conversation(["Hi"], Alpaca(), id="x-1", source="x")


ANSWERS = {"chosen": {"from": "gpt", "value": "good one"}, "rejected": {"from": "gpt", "value": "bad"}}
USER = [{"role": "user", "content": "Hi there"}]


def as_turns(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "Hi there"}], **ANSWERS},
        {"prompt": "Hi there", "chosen": "good one", "rejected": "bad"},
        {"prompt": USER, "chosen": as_turns("good one"), "rejected": as_turns("bad")},
        {"prompt": USER, "chosen": "good one", "rejected": "bad"},
        {"messages": USER + as_turns("good one"), "rejected_response": "bad"},
        {"instruction": "Hi there", "input": "", "chosen": "good one", "rejected": "bad"},
        # TRL's implicit form, without and with the prompt repeated
        {"chosen": USER + as_turns("good one"), "rejected": USER + as_turns("bad")},
        {"prompt": "Hi there", "chosen": USER + as_turns("good one"), "rejected": USER + as_turns("bad")},
    ],
)
def test_every_preference_shape_gives_the_same_pair(row: Any) -> None:
    format = format_of(row, AutoPairFormat())
    assert format is not None
    pair = to_pair(row, format, id="p-1", source="p")
    assert pair.prompt == (Message(role="user", content="Hi there"),)
    assert (pair.chosen, pair.rejected) == ("good one", "bad")
    assert (pair.chosen_words, pair.rejected_words) == (2, 1)
    assert (pair.chosen_score, pair.required_words) == (None, None)


@pytest.mark.parametrize(
    ("row", "reason", "problem"),
    [
        ({"prompt": "Hi", "chosen": "a", "rejected": "a"}, "equal_answers", "the same text"),
        ({"chosen": "a", "rejected": "b"}, "missing_field", "prompt is missing"),
        ({"messages": as_turns("a"), "rejected_response": "b"}, "bad_turns", "has no turn, wanted user at the end"),
        ({"messages": [], "rejected_response": "b"}, "bad_turns", "does not end with a message from the assistant"),
        ({"messages": USER, "rejected_response": "b"}, "bad_turns", "does not end with a message from the assistant"),
        ({"messages": USER + as_turns("a"), "rejected_response": ["b"]}, "wrong_type", "rejected_response is a list"),
        ({"prompt": "Hi", "chosen": "a", "rejected": " "}, "empty_field", "rejected is empty"),
        ({"prompt": "Hi", "chosen": USER, "rejected": "b"}, "bad_turns", "chosen does not end with a message from"),
        (
            {"chosen": USER + as_turns("a"), "rejected": [{"role": "user", "content": "Ho"}, *as_turns("b")]},
            "different_prompts", "answer different messages",
        ),
        ({"conversations": [{"from": "gpt", "value": "x"}], **ANSWERS}, "bad_turns", "message 0 is from assistant"),
        (
            {"conversations": [{"from": "human", "value": "x"}], **ANSWERS, "chosen": {"from": "human", "value": "a"}},
            "bad_turns", "chosen is from user",
        ),
        (
            {"conversations": [{"from": "human", "value": "x"}], **ANSWERS, "chosen": {"from": "gpt"}},
            "missing_field", "chosen.value is missing",
        ),
    ],
)  # fmt: skip
def test_a_broken_pair_names_the_column(row: Any, reason: str, problem: str) -> None:
    format = format_of(row, AutoPairFormat())
    assert format is not None
    with pytest.raises(BrokenRowError) as error:
        to_pair(row, format, id="p-1", source="p")
    assert error.value.reason == reason
    assert problem in str(error.value)


def test_where_a_row_came_from_is_kept_only_where_its_prompt_vouches_for_it() -> None:
    """sha256("Hi there"), as ``printf 'Hi there' | sha256sum`` prints it."""
    ours = "8328c36d18b7834a38118f6ec924ae143c10263f2519c723ccb36ca14e7461fb"
    columns = {"id": "d-7", "source": "agentwrite", "language": "zh", "teacher": "gpt", "cost_usd": 0.5}
    kept = convert(MESSAGES | columns | {"finish_reasons": ["stop", "length"], "plan": "p", "prompt_sha": ours})
    assert (kept.id, kept.source, kept.language, kept.teacher) == ("d-7", "agentwrite", "zh", "gpt")
    assert (kept.cost_usd, kept.finish_reasons, kept.plan) == (0.5, ("stop", "length"), "p")
    assert kept.prompt_sha == ours
    # Another tool's columns of these names mean something else, and so do ours beside an edited prompt.
    for stranger in (MESSAGES | columns, MESSAGES | columns | {"prompt_sha": "0" * 64}):
        assert (convert(stranger).id, convert(stranger).source, convert(stranger).language) == ("x-1", "x", "en")
        assert convert(stranger).teacher is None
    with pytest.raises(BrokenRowError, match="cost_usd: Input should be a valid number"):
        convert(MESSAGES | {"cost_usd": "much", "prompt_sha": ours})
