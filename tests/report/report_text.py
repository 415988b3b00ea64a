"""Fabricated answers in English and Chinese, of about as many words as asked for. Nothing here is a result."""

from __future__ import annotations

import random

EN = [
    "Part {p} of {k} looks at {t}.",
    "Most farmers know it well.",
    "It changes slowly.",
    "It costs little.",
    "Many teachers learn about it in the city.",
    "Every year children find a new way to enjoy it.",
    "The reason is simple, and older people often talk about it.",
    "With a little patience, anyone can begin at home.",
    "What looks easy at first takes years of care.",
    "Old books describe it with hope, and new books add pictures.",
]
ZH = [
    "共{k}段，第{p}段谈{t}。",
    "老师都喜欢。",
    "它很美。",
    "很多孩子在学校了解它。",
    "原因很简单，老人也常常谈起。",
    "这需要耐心和时间。",
    "每年年轻人都会找到新的乐趣。",
    "小小的改变比大的计划更重要。",
    "花得不多，得到的却不少。",
    "旧书里写满了希望，新书里多了图画。",
]
TOPICS = {
    "en": [
        "the history of tea",
        "the future of bread",
        "the value of rivers",
        "the beauty of bridges",
        "the history of city parks",
        "the future of folk music",
        "the value of old maps",
        "the beauty of small gardens",
    ],
    "zh": [
        "茶的历史",
        "面包的未来",
        "河流的价值",
        "桥梁的故事",
        "城市公园的历史",
        "民间音乐的未来",
        "老地图的价值",
        "小花园的故事",
    ],
}


def write_text(language: str, topic: str, words: int, rng: random.Random) -> str:
    """About so many words in numbered paragraphs."""
    parts = max(1, round(words / 50))
    paragraphs, total = [], 0
    for part in range(1, parts + 1):
        sentences = [(EN if language == "en" else ZH)[0].format(p=part, k=parts, t=topic)]
        total += count(sentences[0])
        while total < words * part / parts - 2:
            sentences.append(rng.choice((EN if language == "en" else ZH)[1:]))
            total += count(sentences[-1])
        paragraphs.append((" " if language == "en" else "").join(sentences))
    return "\n\n".join(paragraphs)


def count(text: str) -> int:
    """The paper's word count."""
    from lwexp.text.words import count_words

    return count_words(text)
