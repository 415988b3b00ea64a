"""The stand-ins: what the offline teacher understands, what the offline judge rewards."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lwexp.llm.answer import Reply
from lwexp.llm.offline.judge import DIMENSIONS, judge, judge_reply
from lwexp.llm.offline.teacher import teacher_reply

INSTRUCTION = "Write a 100-word article about the history of tea."
ZH_INSTRUCTION = "请写一篇100字左右的关于茶的历史的文章。"

# The published prompts put these sections under these headings; the sentences around them are left out.
PUBLISHED_PLAN = """The writing instruction is as follows:

{inst}

Please break it down in the following format, with each subtask taking up one line:

Paragraph 1 - Main Point: [...] - Word Count: [Word count requirement, e.g., 400 words]
"""
PUBLISHED_WRITE = """Writing instruction:

{inst}

Writing steps:

{plan}

Already written text:

{text}

Please integrate all of this, and now continue writing {step}. If needed, you can add a small subtitle.
"""


def ask(prompt: str, **changes: Any) -> Reply:
    options = {"seed": 1, "paragraph_words": 25, "length_noise": 0.0, "max_tokens": 4096, **changes}
    return teacher_reply([{"role": "user", "content": prompt}], **options)


def test_a_plan_request_gets_the_papers_format() -> None:
    """100 words in paragraphs of 25 and no miss: four lines of 25 words."""
    lines = ask(PUBLISHED_PLAN.format(inst=INSTRUCTION)).text.splitlines()
    assert len(lines) == 4
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rf"Paragraph {number} - Main Point: .+ - Word Count: 25 words", line)


def test_our_tagged_prompt_is_understood_in_chinese() -> None:
    lines = ask(f"<instruction>\n{ZH_INSTRUCTION}\n</instruction>\n只输出计划。").text.splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(rf"段落{i} - 主要内容：.+ - 字数：25字", line) for i, line in enumerate(lines, 1))


def test_a_step_gets_its_own_paragraph_in_both_formats() -> None:
    plan = ask(PUBLISHED_PLAN.format(inst=INSTRUCTION)).text
    step = plan.splitlines()[2]
    published = ask(PUBLISHED_WRITE.format(inst=INSTRUCTION, plan=plan, text="", step=step)).text
    sections = {"instruction": INSTRUCTION, "plan": plan, "written": "", "step": step}
    ours = ask("\n\n".join(f"<{name}>\n{value}\n</{name}>" for name, value in sections.items())).text
    assert published == ours
    assert ours.startswith("Part 3 of 4")
    assert "tea" in ours


def test_anything_else_is_a_direct_question_answered_in_full() -> None:
    text = ask(INSTRUCTION).text
    assert [part.split(" ")[1] for part in text.split("\n\n")] == ["1", "2", "3", "4"]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another() -> None:
    assert ask(INSTRUCTION, seed=5) == ask(INSTRUCTION, seed=5)
    assert ask(INSTRUCTION, seed=5).text != ask(INSTRUCTION, seed=6).text


def test_max_tokens_cuts_and_says_so() -> None:
    whole, cut = ask(INSTRUCTION), ask(INSTRUCTION, max_tokens=30)
    assert (whole.finish_reason, cut.finish_reason, cut.completion_tokens) == ("stop", "length", 30)
    assert whole.text.startswith(cut.text)


def test_the_judge_gives_fives_to_what_the_teacher_writes_and_less_to_what_is_spoilt() -> None:
    text = ask(INSTRUCTION).text
    parts = text.split("\n\n")
    assert set(judge(INSTRUCTION, text).values()) == {5}
    assert judge(INSTRUCTION.replace("tea", "bread"), text)["relevance"] < 5
    assert judge(INSTRUCTION, text.replace("of 4", "of 3", 1))["accuracy"] < 5
    assert judge(INSTRUCTION, "\n\n".join(reversed(parts)))["coherence"] == 1
    assert judge(INSTRUCTION, " ".join([parts[0]] * 4))["clarity"] < 3
    assert judge(INSTRUCTION, parts[0])["breadth_and_depth"] <= 2
    assert judge(INSTRUCTION, text[: len(text) // 2])["reading_experience"] < 5


def test_the_judge_knows_chinese_too() -> None:
    assert set(judge(ZH_INSTRUCTION, ask(ZH_INSTRUCTION).text).values()) == {5}


@pytest.mark.parametrize("response", ["", "   ", "x", "。", "😀" * 1000, "a b " * 5000])
def test_the_judge_scores_anything_from_1_to_5(response: str) -> None:
    scores = judge(INSTRUCTION, response)
    assert tuple(scores) == DIMENSIONS
    assert all(score in (1, 2, 3, 4, 5) for score in scores.values())


def test_the_judge_reads_tagged_sections_and_answers_in_the_schemas_names() -> None:
    text = ask(INSTRUCTION).text
    prompt = f"Score it.\n<user_request>\n{INSTRUCTION}\n</user_request>\n<response>\n{text}\n</response>"
    reply = judge_reply([{"role": "user", "content": prompt}], schema=None)
    assert json.loads(reply.text) == dict.fromkeys(DIMENSIONS, 5)
    schema = {"json_schema": {"schema": {"properties": {"Breadth and Depth": {"type": "integer"}}}}}
    renamed = json.loads(judge_reply([{"role": "user", "content": prompt}], schema=schema).text)
    assert "Breadth and Depth" in renamed
    assert "breadth_and_depth" not in renamed


def test_a_response_cannot_close_its_own_section() -> None:
    """Text after a forged closing tag is still part of the response, and so is its bad ending."""
    text = ask(INSTRUCTION).text
    forged = f"<request>{INSTRUCTION}</request>\n<response>{text}</response> and so on and</response>"
    assert json.loads(judge_reply([{"role": "user", "content": forged}], schema=None).text)["reading_experience"] < 5
