"""Plan texts in the habits of real models, and what is refused. Expected steps are read off by eye."""

from __future__ import annotations

import pytest

from lwexp.generate.plan import BadPlan, parse_plan
from lwexp.records import Plan

GOOD = {
    "paper": (
        "Paragraph 1 - Main Point: The origin of tea - Word Count: 400 words\n"
        "Paragraph 2 - Main Point: Tea today - Word Count: 250 words",
        [("The origin of tea", 400), ("Tea today", 250)],
    ),
    "blank lines between, full stop behind": (
        "Paragraph 1 - Main Point: A - Word Count: 400 words.\n\n"
        "Paragraph 2 - Main Point: B - Word Count: 300 words.\n",
        [("A", 400), ("B", 300)],
    ),
    "preamble and closing remark": (
        "Sure! Here is a plan for your 2,000-word article:\n\n"
        "Paragraph 1 - Main Point: A - Word Count: 900 words\n"
        "Paragraph 2 - Main Point: B - Word Count: 1,100 words\n\n"
        "Total: 2,000 words. Let me know if I should change anything!",
        [("A", 900), ("B", 1100)],
    ),
    "bold": (
        "**Paragraph 1** - **Main Point:** A - **Word Count:** 400 words\n"
        "**Paragraph 2 - Main Point: B - Word Count: 300 words**",
        [("A", 400), ("B", 300)],
    ),
    "headings with fields below": (
        "### Paragraph 1\n- Main Point: A\n- Word Count: 200\n\n"
        "### Paragraph 2\nMain Point: B\nWord Count: approx. 300",
        [("A", 200), ("B", 300)],
    ),
    "numbered with counts in brackets": (
        "1. Introduction to tea (300 words)\n2. **Body**: the trade (about 500 words)\n3) The end (200 words)",
        [("Introduction to tea", 300), ("Body: the trade", 500), ("The end", 200)],
    ),
    "numbered and labelled": (
        "1. Paragraph 1: A - Word Count: 400 words\n2. Paragraph 2: B - Word Count: 300 words",
        [("A", 400), ("B", 300)],
    ),
    "ranges give their middle": (
        "Paragraph 1 - Main Point: A - Word Count: 400-500 words\n"
        "Paragraph 2 - Main Point: B - Word Count: between 200 and 300 words\n"
        "Paragraph 3 - Main Point: C - Word Count: 100 – 200 words",
        [("A", 450), ("B", 250), ("C", 150)],
    ),
    "thousands": (
        "Paragraph 1 - Main Point: A - Word Count: 1,000 words\nParagraph 2 - Main Point: B - Word Count: 1.5k words",
        [("A", 1000), ("B", 1500)],
    ),
    "a number in the point is not the count": (
        "Paragraph 1 - Main Point: The 500-word rule of 1999 - Word Count: 300 words",
        [("The 500-word rule of 1999", 300)],
    ),
    "sections above paragraphs": (
        "Section 1: Beginnings\nParagraph 1 - Main Point: A - Word Count: 400 words\n"
        "Section 2: Ends\nParagraph 2 - Main Point: B - Word Count: 300 words",
        [("A", 400), ("B", 300)],
    ),
    "bulleted details": (
        "Paragraph 1 - A - 400 words\n  - first detail\n  - second detail\nParagraph 2 - B - 300 words",
        [("A; first detail; second detail", 400), ("B", 300)],
    ),
    "bullets without labels": (
        "- Opening scene, 250 words\n- Closing scene, 350 words",
        [("Opening scene", 250), ("Closing scene", 350)],
    ),
    "reasoning left in the answer": (
        "<think>\nParagraph 1 - 5 words?\n</think>\nParagraph 1 - Main Point: A - Word Count: 400 words",
        [("A", 400)],
    ),
    "chinese": (
        "段落1 - 主要内容：茶的起源，以及传说 - 字数：400字\n段落2 - 主要内容：今天的茶 - 字数：300字",
        [("茶的起源，以及传说", 400), ("今天的茶", 300)],
    ),
    "chinese full width": (
        "段落１－主要内容：茶的起源－字数：４００字",
        [("茶的起源", 400)],
    ),
    "chinese numerals, brackets, sum": (
        "以下是写作计划：\n第一段：茶的起源（约400字）\n第二段：今天的茶（300字左右）\n全文共计700字。",
        [("茶的起源", 400), ("今天的茶", 300)],
    ),
    "chinese demands and ranges": (
        "**段落1** - **主要内容**：甲 - **字数要求**：200-300字\n"
        "**段落2** - **主要内容**：乙 - **字数要求**：400至600字",
        [("甲", 250), ("乙", 500)],
    ),
}


@pytest.mark.parametrize("habit", GOOD)
def test_a_models_habit_is_understood(habit: str) -> None:
    text, expected = GOOD[habit]
    plan = parse_plan(text, max_steps=50)
    assert isinstance(plan, Plan), plan
    assert [(step.point, step.words) for step in plan.steps] == expected


BAD = {
    "refusal": ("I'm sorry, but I can't help with that request.", "refusal"),
    "chinese refusal": ("很抱歉，我无法完成这个请求。", "refusal"),
    "empty": ("", "no_plan"),
    "prose": ("Tea is a drink. It has been known for 5 thousand years.", "no_plan"),
    "the original's error text": ("Max tries. Failed.", "no_plan"),
    "no counts": ("Paragraph 1 - Main Point: A\nParagraph 2 - Main Point: B", "no_word_count"),
    "one count missing": (
        "Paragraph 1 - Main Point: A - Word Count: 400 words\nParagraph 2 - Main Point: B",
        "no_word_count",
    ),
    "zero words": ("Paragraph 1 - Main Point: A - Word Count: 0 words", "no_word_count"),
    "exploded": (
        "\n".join(f"Paragraph {i} - Main Point: A - Word Count: 200 words" for i in range(1, 52)),
        "too_many_steps",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_plan_is_refused_with_a_reason(case: str) -> None:
    text, reason = BAD[case]
    found = parse_plan(text, max_steps=50)
    assert isinstance(found, BadPlan)
    assert found.reason == reason
    assert found.detail


def test_the_plans_text_is_kept_as_the_teacher_wrote_it() -> None:
    text = "**Paragraph 1** - Main Point: A - Word Count: 400 words"
    plan = parse_plan(f"  {text}\n", max_steps=50)
    assert isinstance(plan, Plan)
    assert plan.text == text
