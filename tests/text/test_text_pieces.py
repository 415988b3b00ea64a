"""A long text is counted in pieces, to the same number of words as in one."""

import re

import pytest

from lwexp.text import words
from lwexp.text.words import count_words, language_of

TEXTS = {
    "Hello world, don't": 4, "你好, world": 3, "state-of-the-art": 4, "naïve café word": 1, "word1 1word word": 1,
    "字" * 50: 50, "a" * 50: 1, "a " * 50: 50, "字a字 b 字": 4, "x_y z": 1, "": 0, "  ": 0, "one\n\ntwo\u3000three": 3,
}  # fmt: skip


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("text", TEXTS)
def test_the_size_of_a_piece_changes_no_count(monkeypatch: pytest.MonkeyPatch, text: str, piece: int) -> None:
    """The rule of THUDM/LongWriter evaluation/pred.py:17-18 on the whole text is the reference."""
    reference = len(re.findall(r"[\u4e00-\u9fff]", text)) + len(re.findall(r"\b[a-zA-Z]+\b", text))
    assert reference == TEXTS[text]
    monkeypatch.setattr(words, "_PIECE", piece)
    assert count_words(text) == reference
    assert language_of("字" * 30 + " word") == "zh"
    assert language_of("字 " + "word " * 30) == "en"


def test_a_piece_that_ended_within_a_word_would_count_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: with its accent, this is no word of Latin letters."""
    assert count_words("longwordé") == 0
    monkeypatch.setattr(words, "_PIECE", 3)
    monkeypatch.setattr(words, "_BETWEEN_WORDS", re.compile(""))
    assert count_words("longwordé") == 1
