"""The length an instruction states, as people state it. Expected values are read off the text by eye."""

from __future__ import annotations

import pytest

from lwexp.text.stated_lengths import stated_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Write a 10,000-word novel about a lighthouse.", 10_000),
        ("An essay on tea, about 3000 words", 3000),
        ("I want 3k words on this.", 3000),
        ("a 2-3k word essay", 2500),
        ("an essay of 2 to 3 thousand words", 2500),
        ("between 500 and 800 words", 650),
        ("a speech of 800–1,000 words", 900),
        ("The post should be no less than 2000 words and give examples.", 2000),
        ("ten thousand words about bees", 10_000),
        ("a five-hundred-word letter", 500),
        ("a thousand words on bread", 1000),
        ("Travel guide. Word limit: 800", 800),
        ("the number of words should be 700", 700),
        ("1,500+ words please", 1500),
        ("写一篇一万字的小说", 10_000),
        ("读书报告，5000字左右", 5000),
        ("扩写到八百字", 800),
        ("一篇两千五百字的教案", 2500),
        ("一千零五十字", 1050),
        ("1.5万字的报告", 15_000),
        ("5千字", 5000),
        ("写一篇３０００字的论文", 3000),
        ("生成小红书文章，300到400字", 350),
        ("字数要求：2000左右", 2000),
        ("写一篇300词的英语作文", 300),
        ("不少于2,000字", 2000),
        ("2000多字的故事", 2000),
        # The whole, not its parts and not what is already there.
        ("Write a 10,000-word novel, each chapter about 1k words.", 10_000),
        ("Summarize this 3,000-word essay in 200 words.", 200),
    ],
)
def test_a_stated_length_is_read(text: str, words: int) -> None:
    assert stated_words(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "Write a 50-page novel.",
        "Explain it in your own words.",
        "I read 200 words per minute.",
        "Teach me to learn 1000 words of German.",
        "Write ten chapters, each chapter should be 1000 words.",
        "每章2000字，共10章",
        "分五篇，每篇400字左右",
        "出10道单选题",
        "第3字是什么？",
        "In 2023 there were 12,000 people.",
        "100 billion words",
        "keywords: 5000",
        "length: 5 pages",
        "这3000字典有多重",
    ],
)
def test_what_is_no_length_of_the_text_is_none(text: str) -> None:
    assert stated_words(text) is None
