"""The published word count on a thousand made texts, against the published definition written out by hand."""

import itertools
import random
import re

import pytest
import regex  # type: ignore[import-untyped]

from lwexp.text.words import count_words, count_words_unicode, split_words

# What texts are made of: the piece, its published count alone, and its unicode count alone.
PIECES = {
    "tea": (1, 1),
    "don't": (2, 1),
    "state-of-the-art": (4, 4),
    "café": (0, 1),
    "naïve": (0, 1),
    "2024": (0, 1),
    "3.14": (0, 1),
    "v2": (0, 1),
    "GPT4": (0, 1),
    "使用": (2, 2),
    "使用Python语言": (4, 5),
    "ひらがな": (0, 4),
    "カタカナ": (0, 4),
    "snake_case": (0, 1),
    "—": (0, 0),
    "…": (0, 0),
    "x.com": (2, 1),
    "한국어": (0, 1),
    "𠀀": (0, 1),  # a Chinese character beyond U+9FFF
    "Привет": (0, 1),
    "👍🏽": (0, 0),
}


def published(text: str) -> int:
    """The definition by hand: a run of ASCII letters counts where neither neighbour is a word character.

    Word characters are those of Python's ``\\w``: letters of any script, digits, the underscore.
    """
    han = sum("\u4e00" <= letter <= "\u9fff" for letter in text)
    runs, position = 0, 0
    while position < len(text):
        end = position
        while end < len(text) and text[end].isascii() and text[end].isalpha():
            end += 1
        if end > position:
            before = position > 0 and is_word(text[position - 1])
            after = end < len(text) and is_word(text[end])
            runs += not before and not after
        position = max(end, position + 1)
    return han + runs


def is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def made(seed: int) -> tuple[str, str]:
    """A text of up to 60 pieces, with blanks between them or glued together."""
    draw = random.Random(seed)
    pieces = draw.choices(list(PIECES), k=draw.randint(1, 60))
    return draw.choice(["", " ", "\n", ", "]).join(pieces), " ".join(pieces)


def test_a_thousand_texts_count_as_published() -> None:
    texts = [made(seed)[0] for seed in range(1000)]
    assert len(set(texts)) > 990
    wrong = [text for text in texts if count_words(text) != published(text)]
    assert wrong == []
    # Negative control: counting whatever stands between blanks is another definition.
    assert sum(len(text.split()) != published(text) for text in texts) > 900


def test_the_hand_made_definition_is_the_released_expression() -> None:
    """pred.py:17-18: characters of one block plus matches of one expression."""
    for seed in range(200):
        text = made(seed)[0]
        assert published(text) == len(re.findall("[\u4e00-\u9fff]", text)) + len(re.findall(r"\b[a-zA-Z]+\b", text))


@pytest.mark.parametrize(("piece", "counts"), PIECES.items())
def test_oddities_and_how_unicode_differs(piece: str, counts: tuple[int, int]) -> None:
    assert (count_words(piece), count_words_unicode(piece)) == counts


def test_counts_of_separate_pieces_add_up() -> None:
    for seed in range(300):
        text = made(seed)[1]
        pieces = text.split(" ")
        assert count_words(text) == sum(PIECES[piece][0] for piece in pieces)
        assert count_words_unicode(text) == sum(PIECES[piece][1] for piece in pieces) == len(split_words(text))


def test_glued_english_is_lost_to_the_published_count_only() -> None:
    assert (count_words("写Python吧"), count_words_unicode("写Python吧")) == (2, 3)
    assert (count_words("写 Python 吧"), count_words_unicode("写 Python 吧")) == (3, 3)


def test_ascii_without_apostrophes_is_divided_as_by_unicodes_rules() -> None:
    """All texts of up to five of these characters, among them all that may join letters or digits."""
    unicodes = regex.compile(r"(?w)\b(?!_+\b)\w.*?\b")
    for length in range(1, 6):
        for letters in itertools.product("az1_.:,; -" if length < 5 else "a1_.:, ", repeat=length):
            text = "".join(letters)
            assert split_words(text) == unicodes.findall(text), text
    # Those with apostrophes are divided by the slow pattern, which knows that some join a word and others do not.
    for text in ("don't", "the dogs' tea", "l'art", "'em", "x.com's 3.14"):
        assert split_words(text) == unicodes.findall(text), text


def test_capitals_change_no_count() -> None:
    assert count_words_unicode("X.Com, GPT4 and 3.14; A:b") == len(split_words("X.Com, GPT4 and 3.14; A:b")) == 5
