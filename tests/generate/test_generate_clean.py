"""Cleaning: each rule removes only what it is for."""

from __future__ import annotations

import pytest

from lwexp.generate.clean import clean_paragraph, draft_fault
from lwexp.records import Draft, Instruction, Language, Plan, PlanStep
from lwexp.text.refusal import is_refusal

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
        ("Sure, here is the third paragraph:\n\nTea is old.", "Tea is old.", ("preface",)),
        ("Here's the continuation of the text:\nTea is old.", "Tea is old.", ("preface",)),
        ("好的，以下是第三段的正文：\n茶很古老。", "茶很古老。", ("preface",)),
        ("Tea is old.\n\n(Word count: 402 words)", "Tea is old.", ("word_count",)),
        ("茶很古老。\n（字数：400字）", "茶很古老。", ("word_count",)),
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
        "Here is the garden where we sat:\nroses, weeds, a broken chair.",
        "Here is the paragraph of the law that matters, he said.",
        "以下是他带来的东西：\n一把伞，一封信。",
        "The page ends.\nThe word count had been 402 words when the editor stopped counting them all.",
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


INSTRUCTION = "Write a long and quiet text about tea for my mother."


def test_an_echoed_instruction_is_cut_off_and_a_title_is_not() -> None:
    echo = f"{INSTRUCTION}\n\nTea is old."
    assert clean_paragraph(echo, STEP, instruction=INSTRUCTION) == ("Tea is old.", ("instruction_echo",))
    quoted = f"{INSTRUCTION} That is what it said."
    assert clean_paragraph(quoted, STEP, instruction=INSTRUCTION) == (quoted, ())
    assert clean_paragraph("A tea guide\n\nTea is old.", STEP, instruction="A tea guide").rules == ()


def draft(*paragraphs: str, language: Language = "en", text: str = "t") -> Draft:
    plan = Plan(text="p", steps=tuple(STEP for _ in paragraphs))
    instruction = Instruction(id="i", text=text, language=language, source="s")
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


SENTENCE = "and the rain fell on the roof of the old house by the river"
TALE = (
    "The keeper woke before the light, lit the stove, and read the letter once more, slowly, as if the words could "
    "change overnight; outside the gulls had begun, and the tide was turning in the harbour."
)


def reason(*paragraphs: str, language: Language = "en", text: str = "t") -> str | None:
    fault = draft_fault(draft(*paragraphs, language=language, text=text), min_words=0)
    return fault.reason if fault else None


def test_a_loop_drops_the_draft() -> None:
    assert reason(TALE, f"It was late {f'{SENTENCE}. ' * 6}") == "repetition"
    assert reason("他走了。" + "雨一直下，" * 30, language="zh") == "repetition"
    assert reason(TALE, "no " * 60) == "repetition"
    assert reason(TALE, "Another one, short.", TALE.upper()) == "repetition"


def test_refrains_and_laughter_are_no_loops() -> None:
    verses = "".join(
        f"{line}, {SENTENCE}.\n" for line in ("In March", "In the dry month", "When the boats came", "At last")
    )
    assert reason(verses) is None
    assert reason(f"{SENTENCE}. " * 3 + TALE) is None
    assert reason(TALE, "Ha ha ha ha ha ha ha ha!") is None
    assert reason(TALE, "A new day.", "The end.", "A new day.") is None
    assert reason("他说：“不不不不不不！”然后就走了，再也没有回来。", language="zh") is None


ZH = "海边的小镇上有一座古老的灯塔，守塔的老人每天清晨都会点亮炉火，读一封旧信，等待潮水回来。"


def test_a_draft_in_the_other_language_is_dropped_unless_it_was_asked_for() -> None:
    assert reason(ZH, ZH + "第二段。") == "wrong_language"
    assert reason(TALE, TALE + " More.", language="zh") == "wrong_language"
    assert reason(TALE, language="zh", text="请用英文写一篇关于灯塔的文章") is None
    assert reason(TALE, TALE + " She said: 你好。") is None
    code = "```python\n" + "print the name of every keeper in the old list\n" * 3 + "```"
    assert reason(ZH + code, ZH + "第二段。", language="zh") is None
    assert reason(ZH, ZH + "第二段。", "Li Bai, Selected Poems", language="zh") is None
