"""Length instructions in the words of people, and scores against hand arithmetic."""

from math import exp

import pytest

from lwexp.records import LengthRule
from lwexp.text.length_instructions import ABOUT, instruction_in, length_deviation, life_score, obeyed_score


def at_least(words: int) -> LengthRule:
    return LengthRule(kind="at_least", low=words)


def at_most(words: int) -> LengthRule:
    return LengthRule(kind="at_most", high=words)


def between(low: int, high: int) -> LengthRule:
    return LengthRule(kind="between", low=low, high=high)


@pytest.mark.parametrize(
    ("prompt", "required", "rule"),
    [
        # Of LongBench-Write, shortened around the number.
        ("Do not write fewer than 500 words about it.", 500, at_least(500)),
        ("It shouldn't be less than 500 words.", 500, at_least(500)),
        ("It must not contain more than 500 words.", 500, at_most(500)),
        ("Don't go over 500 words.", 500, at_most(500)),
        ("Avoid exceeding 500 words.", 500, at_most(500)),
        ("Do not stop early; write more than 500 words.", 500, at_least(500)),
        ("请勿少于500字", 500, at_least(500)),
        ("字数不可少于500字", 500, at_least(500)),
        ("切勿超过500字", 500, at_most(500)),
        ("对于雷锋精神的推文，200字以内", 200, at_most(200)),
        ("字数要求100至200字。", 200, between(100, 200)),
        ("Introduce at lease 5 bad habits. The content should be no less than 200 words.", 200, at_least(200)),
        ("consolidated by Supply Engineer; at least 400 words.", 400, at_least(400)),
        ("生成小红书自媒体风格文章，300到400字", 400, between(300, 400)),
        ("心理原理和具体做法，400字以上。", 400, at_least(400)),
        ("字数：不少于600字", 600, at_least(600)),
        ("文章字数不低于1500字", 1500, at_least(1500)),
        ("请写一篇不少于2000字的个人心得，内容需涉及至少一个与寒假生活相关的权益", 2000, at_least(2000)),
        ("help me write a teaching plan of no less than 2000 words. Search online", 2000, at_least(2000)),
        ("a bad ending. Write a text of more than 5000 words", 5000, at_least(5000)),
        ("The story should be at least 6,000 words long.", 6000, at_least(6000)),
        ("write a description of the sun in astrology, write it in approximately 150 words", 150, ABOUT),
        ("法真简介，200字左右", 200, ABOUT),
        ("a short 100-word blog post", 100, ABOUT),
        ("帮我创作一段主题是抨击网络暴力的200字的rap。", 200, ABOUT),
        # Other wordings.
        ("Write an essay, no shorter than 4000 words.", 4000, at_least(4000)),
        ("An essay of 500+ words", 500, at_least(500)),
        ("An essay (500 words or more)", 500, at_least(500)),
        ("An essay of 500 words minimum", 500, at_least(500)),
        ("An essay with a minimum of 500 words", 500, at_least(500)),
        ("An essay in under 300 words", 300, at_most(300)),
        ("Keep it within 300 words.", 300, at_most(300)),
        ("It must not exceed 1,000 words", 1000, at_most(1000)),
        ("Use up to 250 words", 250, at_most(250)),
        ("A summary of no more than 100 words", 100, at_most(100)),
        ("A summary, 100 words or less", 100, at_most(100)),
        ("Word limit: 800 words", 800, at_most(800)),
        ("between 400 and 500 words", 450, between(400, 500)),
        ("at least 500 words but no more than 800 words", 500, between(500, 800)),
        ("不超过800字", 800, at_most(800)),
        ("字数控制在500字以内", 500, at_most(500)),
        ("最多300字", 300, at_most(300)),
        ("至少一万字", 10000, at_least(10000)),
        ("超过3000字的小说", 3000, at_least(3000)),
        ("写一篇800字内容充实的作文", 800, ABOUT),
        # Negative controls: the words belong to another number, or to no number of words.
        ("Over the years: write 500 words with at least 5 examples", 500, ABOUT),
        ("A 300-word letter of at least three paragraphs", 300, ABOUT),
        ("At least 100 words for each part, 1,000 words in all", 1000, ABOUT),
        ("Write about tea", 300, ABOUT),
    ],
)  # fmt: skip
def test_the_words_around_a_length_say_what_it_allows(prompt: str, required: int, rule: LengthRule) -> None:
    assert instruction_in(prompt, required) == rule


@pytest.mark.parametrize(
    ("rule", "required", "words", "score"),
    [
        # S_l for 1.5 times the length is 100 (1 - 0.5/3) = 83.3, for half of it 100 (1 - 1/2) = 50.
        (ABOUT, 400, 600, 250 / 3),
        (ABOUT, 400, 200, 50),
        (at_least(400), 400, 600, 100),
        (at_least(400), 400, 200, 50),
        (at_least(400), 400, 0, 0),
        (at_most(400), 400, 200, 100),
        (at_most(400), 400, 1, 100),
        (at_most(400), 400, 0, 0),
        (at_most(400), 400, 600, 250 / 3),
        (between(300, 400), 400, 300, 100),
        (between(300, 400), 400, 350, 100),
        (between(300, 400), 400, 150, 50),  # half of the lower end
        (between(300, 400), 400, 600, 250 / 3),
    ],
)
def test_a_length_that_the_instruction_allows_scores_100(
    rule: LengthRule, required: int, words: int, score: float
) -> None:
    assert obeyed_score(rule, required, words) == pytest.approx(score)


def test_lifebench_scores_by_hand() -> None:
    """80 of 100 words: d = -0.2, 100 e^-1 = 36.79. 150 of 100: d = 0.5, again e^-1. 100: 100. None: e^-5 = 0.67."""
    assert length_deviation(ABOUT, 100, 80) == pytest.approx(-0.2)
    assert life_score(-0.2) == pytest.approx(36.787944)
    assert length_deviation(ABOUT, 100, 150) == pytest.approx(0.5)
    assert life_score(0.5) == pytest.approx(36.787944)
    assert life_score(0) == 100
    assert life_score(length_deviation(ABOUT, 100, 0)) == pytest.approx(100 * exp(-5))
    assert length_deviation(at_most(100), 100, 0) == length_deviation(between(50, 100), 100, 0) == -1
    assert length_deviation(at_most(100), 100, 80) == length_deviation(at_least(100), 100, 150) == 0
    assert length_deviation(at_most(100), 100, 150) == pytest.approx(0.5)
    assert length_deviation(between(100, 200), 200, 250) == pytest.approx(0.25)
