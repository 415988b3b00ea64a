"""Segments, repetition, loops and agreement, by hand; Krippendorff's own example as the witness."""

import random

import pytest

from lwexp.score.checks import check
from lwexp.score.texts import segments, shares_by_segment
from lwexp.stats.agreement import krippendorff_alpha, mean_absolute_difference
from lwexp.text.loops import ends_in_repeats, looped_words
from lwexp.text.words import split_words
from tests.score.scripted_judge import response


def numbered(first: int, last: int) -> str:
    return " ".join(f"w{n}" for n in range(first, last))


def test_segments_are_the_text_and_about_equal() -> None:
    """Ten paragraphs of 40 words in five parts: two each."""
    text = "\n\n".join(numbered(n, n + 40) for n in range(0, 400, 40))
    parts = segments(text, 5)
    assert "".join(part.text for part in parts) == text
    assert [len(part.words) for part in parts] == [80] * 5
    assert [part.text.count("\n\n") for part in parts] == [2, 2, 2, 2, 1]  # a break stays with what it ends


def test_a_single_paragraph_is_cut_between_sentences_and_numbers_stay_whole() -> None:
    text = " ".join(f"It costs 3.14 in place {n} of many." for n in range(60))
    parts = segments(text, 4)
    assert "".join(part.text for part in parts) == text
    assert [word for part in parts for word in part.words] == split_words(text)
    assert all(part.text.rstrip().endswith(".") for part in parts)
    assert [len(part.words) for part in parts] == [120] * 4  # 8 words a sentence, 15 sentences a part


@pytest.mark.parametrize(
    ("text", "parts"),
    [("", 0), ("Short.", 1), (numbered(0, 79), 1), (numbered(0, 500), 1), ("茶。" * 100, 2), ("\n\n \n", 1)],
)
def test_short_texts_have_fewer_segments(text: str, parts: int) -> None:
    """79 words are no two parts of 40; one sentence of 500 words cannot be cut; 100 characters are two parts of 40."""
    found = segments(text, 5)
    assert len(found) == parts
    assert "".join(part.text for part in found) == text


def test_repetition_is_the_share_of_four_grams_seen_before() -> None:
    """a b c d e, then the same again: its five 4-grams are bcde+a.. : cdea, deab, eabc new; abcd, bcde seen."""
    first, second = shares_by_segment([list("abcde"), list("abcde")])
    assert first.repeated == 0
    assert second.repeated == pytest.approx(2 / 5)
    assert first.distinct == 1
    assert shares_by_segment([["a"]]) == [(None, None)]
    assert shares_by_segment([["a"] * 10])[0] == (pytest.approx(6 / 7), pytest.approx(1 / 9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (numbered(0, 100), 0),
        (numbered(0, 100) + " and so" * 20, 40),
        (numbered(0, 100) + " ha" * 20, 0),  # under 30 words: laughter, not a loop
        ((numbered(0, 50) + " ") * 2, 0),  # twice is a repetition
        ((numbered(0, 50) + " ") * 3, 150),
        ((numbered(0, 50) + " ") * 3 + numbered(0, 20), 170),  # cut in its middle by the token limit
        ("茶好喝。" * 20, 60),
    ],
)
def test_a_loop_is_an_end_that_says_the_same_three_times(text: str, words: int) -> None:
    assert looped_words(split_words(text)) == words


def test_an_early_stop_is_under_half_and_by_itself() -> None:
    def early(words: int, reason: str) -> bool:
        return check(response(required_words=100, words=words, finish_reason=reason), []).stopped_early

    assert [early(49, "stop"), early(50, "stop"), early(49, "unknown"), early(49, "length")] == [
        True, False, True, False,
    ]  # fmt: skip


# Four observers, twelve units: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D.
TABLE = """
    1 2 3 3 2 1 4 1 2 . . .
    1 2 3 3 2 2 4 1 2 5 . 3
    . 3 3 3 2 3 4 2 2 5 1 .
    1 2 3 3 2 4 4 1 2 5 1 .
"""


def test_alpha_of_the_published_example() -> None:
    """The paper gives 0.849 for interval data."""
    rows = [line.split() for line in TABLE.strip().splitlines()]
    units = [[float(value) for value in column if value != "."] for column in zip(*rows, strict=True)]
    alpha = krippendorff_alpha(units)
    assert alpha == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_one_where_all_agree_and_about_zero_by_chance() -> None:
    assert krippendorff_alpha([[1, 1], [5, 5]]) == 1
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
    assert krippendorff_alpha([[25 / 6] * 3] * 3) is None  # not noise of rounding
    assert krippendorff_alpha([[29 / 6] * 3] * 10) is None
    assert krippendorff_alpha([[1], [2]]) is None
    draw = random.Random(0)
    chance = krippendorff_alpha([[draw.randint(1, 5) for _ in range(3)] for _ in range(4000)])
    assert chance == pytest.approx(0, abs=0.03)


def test_mean_absolute_difference_by_hand() -> None:
    """1, 2, 4 differ by 1, 3, 2: 2. 5, 5 by 0. Mean 1."""
    assert mean_absolute_difference([[1, 2, 4], [5, 5], [3]]) == 1
    assert mean_absolute_difference([[3]]) is None


@pytest.mark.parametrize(
    ("tokens", "repeats", "ends"),
    [
        ([*range(50), *list(range(100, 130)) * 3], 3, True),
        ([*range(50), *list(range(100, 130)) * 3], 4, False),
        ([*range(50), *list(range(100, 130)) * 3, 7], 3, False),  # it has left the loop
        ([*range(50), *list(range(100, 130)) * 2, *range(100, 120)], 3, False),  # the third time is not complete
        ([*range(50), *[7] * 63], 3, False),  # a short row of dashes
        ([*range(50), *[7] * 64], 3, True),
        (list(range(1024)) * 2, 2, True),
        (list(range(1025)) * 2, 2, False),  # a longer passage than is looked for
        ([], 3, False),
    ],
)
def test_a_sequence_ends_in_repeats_of_one_passage(tokens: list[int], repeats: int, ends: bool) -> None:
    assert ends_in_repeats(tokens, repeats) == ends
