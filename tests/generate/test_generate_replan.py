"""A plan that cannot be read, or was cut, is asked for once more, with what was wrong.

The teacher here is scripted, because the offline one never plans badly; everything below it is real.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.generate.planning import PlanCall, Planned, plan_document, plan_form, plan_schema
from lwexp.generate.prompts import load_templates
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.records import Failure, Instruction, LwexpError

GOOD = "Paragraph 1 - Main Point: how tea began - Word Count: 300 words"
NO_COUNT = "Paragraph 1 - Main Point: how tea began"
JSON = '{"steps": [{"main_point": "how tea\\nbegan", "word_count": 180}, {"main_point": "trade", "word_count": 120}]}'
LOOP = "It is a journey of self-acceptance and self-love. " * 12
TEXT = " ".join(f"Tea of kind {number} came late to the harbour." for number in range(20))  # digits are no words
REFUSAL = "I'm sorry, but I can't help with that request."


class Scripted:
    """Gives its replies one after the other and keeps what it was asked."""

    def __init__(self, *replies: str | NoAnswer) -> None:
        self.replies = list(replies)
        self.asked: list[list[dict[str, str]]] = []
        self.options: list[dict[str, Any]] = []

    async def ask(self, messages: list[dict[str, str]], *, seed: int, **options: Any) -> Answer | NoAnswer:
        self.asked.append([dict(message) for message in messages])
        self.options.append(options)
        reply = self.replies.pop(0)
        return reply if isinstance(reply, NoAnswer) else answer(reply)


def answer(text: str) -> Answer:
    values: dict[str, Any] = {
        "text": text, "finish_reason": "stop", "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.5,
        "from_ledger": False,
    }  # fmt: skip
    return Answer(**values)


def cut(text: str) -> NoAnswer:
    return NoAnswer("length", "cut at 1 tokens", 1, partial=answer(text))


def plan(teacher: Scripted, form: str = "text", more_room: int | None = None) -> Planned | Failure:
    config = compose(f"generate.plan.form={form}")
    instruction = Instruction(id="a", text="Write about tea.", language="en", source="test", required_words=300)
    limits = config.generate.plan
    used = plan_form(limits, config.teacher)
    call = PlanCall(limits, plan_schema(limits) if used == "schema" else None, more_room)
    return asyncio.run(plan_document(teacher.ask, load_templates(config.generate, used)["en"], instruction, call, 0))


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


def test_a_cut_plan_is_asked_for_again_with_more_room():
    """Whether steps are missing cannot be told from a cut plan, so one that reads well is not used either."""
    teacher = Scripted(cut(GOOD), GOOD)

    planned = plan(teacher, more_room=999)

    assert isinstance(planned, Planned)
    assert (planned.cost_usd, planned.attempts) == (1.0, 2)
    assert teacher.options == [{}, {"max_tokens": 999}]
    assert "cut at 1 tokens, after 1 steps" in teacher.asked[1][2]["content"]


@pytest.mark.parametrize(
    ("form", "whole", "end"),
    [
        ("text", f"{GOOD.replace('300', '200')}\n{GOOD.replace('1', '2').replace('300', '100')}", "Word Coun"),
        ("text", GOOD, "Main Poi"),
        ("schema", JSON, '"trade"'),
        ("schema", JSON, '"main_po'),
    ],
)
def test_a_plan_cut_inside_a_step_is_asked_for_with_more_room(form: str, whole: str, end: str):
    """What the parser misses in such a step, a word count or the step itself, is beyond the cut."""
    part = whole[: whole.rindex(end) + len(end)]
    teacher = Scripted(cut(part), whole)

    assert isinstance(plan(teacher, form, more_room=999), Planned)
    assert [options.get("max_tokens") for options in teacher.options] == [None, 999]
    failed = plan(Scripted(cut(part), cut(part)), form, more_room=999)
    assert isinstance(failed, Failure)
    assert failed.reason == "length"


def test_a_plan_cut_twice_is_a_failure_that_keeps_its_beginning():
    planned = plan(Scripted(cut(GOOD), cut(GOOD)))

    assert isinstance(planned, Failure)
    assert (planned.reason, planned.attempts, planned.reply) == ("length", 2, GOOD)


@pytest.mark.parametrize(
    ("reply", "reason", "said"),
    [(LOOP, "loop", "repeats “it is a journey of self"), (TEXT, "wrote_text", "a text of 160 words")],
)
@pytest.mark.parametrize("is_cut", [True, False])
def test_a_reply_without_a_plan_says_what_it_was(reply: str, reason: str, said: str, is_cut: bool):
    """More tokens would not help, so the limit stays, and the teacher is not shown the text that it would continue."""
    teacher = Scripted(*[cut(reply) if is_cut else reply] * 2)

    planned = plan(teacher, more_room=999)

    assert isinstance(planned, Failure)
    assert planned.reason == reason
    assert said in planned.detail
    assert planned.detail.endswith("; cut at 1 tokens") == is_cut
    assert planned.reply == teacher.asked[1][1]["content"] == reply[:200] + "..."
    assert teacher.options == [{}, {}]


def test_a_short_reply_without_a_plan_is_neither_text_nor_loop():
    planned = plan(Scripted("Here you are!", "Here you are!"))

    assert isinstance(planned, Failure)
    assert (planned.reason, planned.reply) == ("no_plan", "Here you are!")


def test_a_schema_has_the_bounds_of_the_limits_and_its_plan_becomes_lines():
    teacher = Scripted(cut(JSON), JSON)

    planned = plan(teacher, form="schema")

    assert isinstance(planned, Planned)
    assert planned.plan.text == (
        "Paragraph 1 - Main Point: how tea began - Word Count: 180 words\n"
        "Paragraph 2 - Main Point: trade - Word Count: 120 words"
    )
    assert [step.words for step in planned.plan.steps] == [180, 120]
    first, second = (messages[-1]["content"] for messages in teacher.asked)
    assert first.endswith('"word_count": 400}]}')
    assert second.endswith('"word_count": 400}]}')
    schema = teacher.options[0]["response_schema"].model_json_schema()
    assert teacher.options[1] == teacher.options[0]
    assert (schema["properties"]["steps"]["minItems"], schema["properties"]["steps"]["maxItems"]) == (1, 50)
    bounds = schema["$defs"]["PlanStep"]["properties"]["word_count"]
    assert (bounds["minimum"], bounds["maximum"]) == (5, 2000)


def test_a_plan_outside_the_schema_is_refused_though_the_server_ignored_it():
    huge = json.dumps({"steps": [{"main_point": "tea", "word_count": 10**15}]})

    planned = plan(Scripted(huge, huge), form="schema")

    assert isinstance(planned, Failure)
    assert planned.reason == "step_length"


@pytest.mark.parametrize(
    ("form", "overrides", "used"),
    [
        ("auto", ["teacher=gpt4o"], "schema"),
        ("auto", ["teacher=gpt4o", "teacher.json_schema=false"], "text"),
        ("auto", ["teacher=deepseek"], "text"),
        ("text", ["teacher=gpt4o"], "text"),
        ("schema", ["teacher=gpt4o"], "schema"),
    ],
)
def test_auto_sends_a_schema_to_teachers_that_accept_one(form: str, overrides: list[str], used: str):
    config = compose(f"generate.plan.form={form}", *overrides)
    assert plan_form(config.generate.plan, config.teacher) == used


def test_a_schema_for_a_teacher_that_takes_none_is_refused_in_one_line():
    config = compose("generate.plan.form=schema", "teacher=deepseek")
    with pytest.raises(
        LwexpError, match=r"^generate.plan.form=schema: deepseek/\S+ accepts no .*; set .*=auto or text$"
    ):
        plan_form(config.generate.plan, config.teacher)


def test_the_stand_in_writes_the_same_drafts_from_plans_in_json(tmp_path: Path):
    from lwexp.records import Draft, read_rows
    from tests.generate.draft_runs import write

    drafts = {
        form: list(read_rows(write(tmp_path, "generate.instructions.count=4", *form).path / "drafts.jsonl", Draft))
        for form in ((), ("generate.plan.form=schema",))
    }
    lines, as_json = drafts.values()
    assert [draft.text for draft in as_json] == [draft.text for draft in lines]
    assert [draft.plan.text for draft in as_json] == [draft.plan.text for draft in lines]
