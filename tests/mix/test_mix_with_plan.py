"""Conversations whose answer starts with the teacher's plan, and taking it off again."""

from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.mix.mixture import take
from lwexp.mix.resolve import resolve_mixture
from lwexp.pack.rows import ConversationRows
from lwexp.records import Conversation, LwexpError, Message, write_rows
from lwexp.runs import open_run
from lwexp.runs.artifacts import Artifact
from lwexp.text.plan_text import after_plan, with_plan


def drafts_run(root: Path, plan: str | None) -> None:
    """A finished AgentWrite run of one conversation."""
    messages = (Message(role="user", content="Two words, please."), Message(role="assistant", content="Tall trees"))
    row = Conversation(id="d1", source="s", language="en", messages=messages, actual_words=2, plan=plan)
    with open_run("data", compose(f"root={root}"), default_name="drafts", inputs={}) as run:
        write_rows(run.path / "conversations.jsonl", [row])
        run.finish(Artifact())


def taken(root: Path, value: str) -> Conversation:
    config = compose(f"root={root}", f"mixture.sources.drafts.plan_first={value}")
    (row,) = take(resolve_mixture(config), 0, ConversationRows()).rows
    return row


def test_the_plan_stands_before_the_answer_and_counts_for_nothing(tmp_path: Path) -> None:
    drafts_run(tmp_path, "1. Height - 2 words")

    planned, plain = taken(tmp_path, "true"), taken(tmp_path, "false")

    assert planned.messages[-1].content == "1. Height - 2 words\n\n***\n\nTall trees"
    assert planned.messages[0] == plain.messages[0]
    assert plain.messages[-1].content == "Tall trees"
    assert planned.actual_words == plain.actual_words == 2


def test_a_conversation_without_a_plan_is_refused(tmp_path: Path) -> None:
    drafts_run(tmp_path, None)

    with pytest.raises(LwexpError, match=r"plan_first=true: conversation d1 has no plan"):
        taken(tmp_path, "true")
    assert taken(tmp_path, "false").id == "d1"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (with_plan("1. a\n2. b", "One.\n\nTwo."), "One.\n\nTwo."),
        ("No plan at all.", "No plan at all."),
        ("1. a\n\n***\n\n", ""),  # planned, and then wrote nothing
        ("1. a\n\n***\n\nOne.\n\n***\n\nTwo.", "One.\n\n***\n\nTwo."),  # only the first separator ends the plan
    ],
)
def test_what_stands_after_the_plan(answer: str, text: str) -> None:
    assert after_plan(answer) == text
