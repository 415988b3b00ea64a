"""Cleaning: each rule takes what it names and leaves the rest."""

from __future__ import annotations

import pytest

from lwexp.generate.clean import clean_paragraph, draft_fault, is_refusal
from lwexp.records import Draft, Instruction, Plan, PlanStep

STEP = PlanStep(point="The origin of tea", words=400)


@pytest.mark.parametrize(
    ("text", "cleaned", "rules"),
    [
        ("Paragraph 3: Tea is old.", "Tea is old.", ("label",)),
        ("**Paragraph 3:** Tea is old.", "Tea is old.", ("label",)),
        ("## Paragraph 3\n\nTea is old.", "Tea is old.", ("label",)),
        ("Paragraph 3 - Tea is old.", "Tea is old.", ("label",)),
        ("段落3：茶很古老。", "茶很古老。", ("label",)),
        ("第三段：茶很古老。", "茶很古老。", ("label",)),
        ("Tea\u200b is\ufeff old.", "Tea is old.", ("zero_width",)),
        (
            "Paragraph 1 - Main Point: The origin of tea - Word Count: 400 words\n\nTea is old.",
            "Tea is old.",
            ("step_echo",),
        ),
        ("**The origin of tea**\nTea is old.", "Tea is old.", ("step_echo",)),
        ("<think>hm</think>\nTea is old.", "Tea is old.", ("reasoning",)),
        ("\u200bParagraph 3: Tea is old.", "Tea is old.", ("zero_width", "label")),
    ],
)
def test_a_rule_mends_what_it_names(text: str, cleaned: str, rules: tuple[str, ...]) -> None:
    assert clean_paragraph(text, STEP) == (cleaned, rules)


@pytest.mark.parametrize(
    "text",
    [
        "Part 3 of 8 looks at tea.",
        "共8段，第3段谈茶。",
        "Paragraph 3 of the law says: no tea.",
        "第三段关系开始了，没有人知道。",
        "Tea is old.\n\nParagraph 2 of the treaty: see below.",
        "The Word Count: a novel.",
        "Long ago began the origin of tea",
        "The origin of tea",
        "This first line is about The origin of tea\nand goes on.",
        "## A small subtitle\n\nTea is old.",
    ],
)
def test_text_that_only_looks_like_a_label_stays(text: str) -> None:
    assert clean_paragraph(text, STEP) == (text, ())


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, I cannot continue this text.",
        "I cannot help with this request.",
        "Unfortunately, I am unable to write this.",
        "As an AI language model, I do not have feelings.",
        "抱歉，我无法提供这样的内容。",
        "作为一个人工智能，我没有感情。",
    ],
)
def test_refusals_are_known(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, she said, and closed the door behind her.",
        "I cannot remember a summer as warm as that one.",
        "Unfortunately, the harvest failed.",
        "抱歉，他说，然后走了。",
        "I'm sorry, but I can't assist with that, said the clerk. " + "The queue grew longer. " * 40,
    ],
)
def test_stories_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


def draft(*paragraphs: str) -> Draft:
    plan = Plan(text="p", steps=tuple(STEP for _ in paragraphs))
    instruction = Instruction(id="i", text="t", language="en", source="s")
    return Draft(
        id="i", instruction=instruction, plan=plan, paragraphs=paragraphs, finish_reasons=("stop",) * len(paragraphs),
        teacher="t", cost_usd=0.0,
    )  # fmt: skip


def test_a_draft_below_min_words_is_dropped() -> None:
    assert draft_fault(draft("one two three", "four five"), min_words=5) is None
    fault = draft_fault(draft("one two three", "four five"), min_words=6)
    assert fault is not None
    assert (fault.reason, fault.detail) == ("too_short", "5 words, generate.min_words=6")


def test_a_draft_with_a_refused_or_empty_paragraph_is_dropped() -> None:
    refused = draft_fault(draft("fine text", "I cannot help with that."), min_words=0)
    empty = draft_fault(draft("fine text", "123 ..."), min_words=0)
    assert refused is not None
    assert empty is not None
    assert (refused.reason, empty.reason) == ("refusal", "empty_paragraph")
