"""A plan that cannot be read is asked for once more, with what was wrong.

The teacher here is scripted, because the offline one never plans badly; everything below it is real.
"""

import asyncio
from typing import Any

from lwexp.config import compose
from lwexp.generate.prompts import load_templates
from lwexp.generate.write import Planned, plan_document
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.records import Failure, Instruction

GOOD = "Paragraph 1 - Main Point: how tea began - Word Count: 300 words"
NO_COUNT = "Paragraph 1 - Main Point: how tea began"
REFUSAL = "I'm sorry, but I can't help with that request."


class Scripted:
    """Gives its replies one after the other and keeps what it was asked."""

    def __init__(self, *replies: str | NoAnswer) -> None:
        self.replies = list(replies)
        self.asked: list[list[dict[str, str]]] = []

    async def ask(self, messages: list[dict[str, str]], *, seed: int) -> Answer | NoAnswer:
        self.asked.append([dict(message) for message in messages])
        reply = self.replies.pop(0)
        return reply if isinstance(reply, NoAnswer) else answer(reply)


def answer(text: str) -> Answer:
    values: dict[str, Any] = {
        "text": text, "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.5,
        "from_ledger": False,
    }  # fmt: skip
    return Answer(**values)


def plan(teacher: Scripted) -> Planned | Failure:
    config = compose()
    instruction = Instruction(id="a", text="Write about tea.", language="en", source="test", required_words=300)
    templates = load_templates(config.generate)["en"]
    return asyncio.run(plan_document(teacher.ask, templates, instruction, config.generate.plan, 0))


def test_a_good_plan_is_asked_for_once():
    teacher = Scripted(GOOD)

    planned = plan(teacher)

    assert isinstance(planned, Planned)
    assert (len(teacher.asked), planned.plan.words, planned.cost_usd) == (1, 300, 0.5)


def test_a_bad_plan_is_asked_for_again_with_what_was_wrong_and_both_calls_are_paid():
    teacher = Scripted(NO_COUNT, GOOD)

    planned = plan(teacher)

    assert isinstance(planned, Planned)
    assert (planned.plan.words, planned.cost_usd) == (300, 1.0)
    first, second = teacher.asked
    assert second[0] == first[0]
    assert second[1] == {"role": "assistant", "content": NO_COUNT}
    assert "states" in second[2]["content"]
    assert "word count" in second[2]["content"]


def test_two_bad_plans_are_a_failure():
    planned = plan(Scripted(NO_COUNT, NO_COUNT))

    assert isinstance(planned, Failure)
    assert (planned.stage, planned.reason, planned.attempts) == ("plan", "no_word_count", 2)


def test_a_refusal_is_not_asked_again():
    teacher = Scripted(REFUSAL, GOOD)

    planned = plan(teacher)

    assert isinstance(planned, Failure)
    assert (planned.reason, planned.attempts, len(teacher.asked)) == ("refusal", 1, 1)
