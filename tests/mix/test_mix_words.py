"""The shared word counter, against counts made by hand."""

import pytest

from lwexp.text.words import count_words, language_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("Hello world", 2),
        ("don't stop", 3),  # don, t, stop
        ("state-of-the-art", 4),
        ("café naïve", 0),  # an accent is a letter, so neither word has a boundary before it
        ("使用Python语言", 4),  # characters only: Python touches letters on both sides
        ("使用 Python 语言", 5),
        ("in 2024 or 3.5 ways", 3),  # digits count for nothing
        ("a1 b_c", 0),  # digits and underscores glue
        ("ひらがな", 0),
        ("你好，world！", 3),
        ("\u4e00\u9fff", 2),  # both ends of the range
        ("\u3fff\ua000", 0),  # just outside it
    ],
)
def test_words_are_counted_as_the_published_benchmark_counts_them(text: str, words: int) -> None:
    assert count_words(text) == words


def test_a_text_is_chinese_from_a_fifth_of_chinese_characters_on() -> None:
    assert language_of("字 one two three four") == "zh"  # 1 of 5
    assert language_of("字 one two three four five") == "en"  # 1 of 6
    assert language_of("") == "en"
    assert language_of("12345 — …") == "en"
