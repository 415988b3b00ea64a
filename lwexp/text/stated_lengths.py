"""Reads word counts as people write them: "10,000-word", "about 3k words", "400-500 words", "一万字", "5000字左右".

Used for the length that an instruction states (``stated_words``) and for the counts in a plan (``COUNT`` and
``count_of``). A word is what ``count_words`` counts: a Chinese character or an English word.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

_HAN_DIGITS = {"零": 0, "〇": 0, "两": 2} | {sign: value for value, sign in enumerate("一二三四五六七八九", 1)}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10000}
_SMALL = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ENGLISH_NUMBERS = {word: value for value, word in enumerate(_SMALL.split(), 1)} | {
    word: 10 * value for value, word in enumerate(_TENS.split(), 2)
}
_DIGITS = r"\d{1,3}(?:[,，'\u00a0\u2009\u202f]\d{3})+|\d+(?:\.\d+)?"
_HAN_NUMBER = "[零〇一二两三四五六七八九十百千万]+"
_ENGLISH_WORD = rf"(?:{'|'.join(sorted(_ENGLISH_NUMBERS, key=len, reverse=True))})"
_ENGLISH_NUMBER = rf"(?:(?:a|{_ENGLISH_WORD}(?:[\s-]{_ENGLISH_WORD})?)[\s-](?:hundred|thousand)|{_ENGLISH_WORD})\b"
# A gap has a limit, because a run of blanks would otherwise be scanned from each of its positions: a few thousand of
# them took hours.
_BLANKS = r"\s{0,20}"
GAP = rf"{_BLANKS}+"
"""Possessive: it gives no blank back, so gaps side by side are no further cost."""
_NUMBER = rf"(?:(?:{_DIGITS}){_BLANKS}(?:[kK](?![A-Za-z])|千|万|thousand\b)?|{_HAN_NUMBER}|{_ENGLISH_NUMBER})"

_ABOUT = r"(?:about|around|approximately|approx\.?|roughly|circa|ca\.|[~∼～≈±+]|大约|大概|约|近)?" + _BLANKS
_TO = rf"{GAP}(?:words?{GAP})?(?:[-–—‐-‑~～∼－]|\bto\b|\band\b|至|到|、){GAP}"
COUNT = rf"{_ABOUT}(?P<low>{_NUMBER})\+?(?:(?:字|词)?{_TO}{_ABOUT}(?P<high>{_NUMBER}))?"
"""A count or a range of counts, with the groups ``low`` and ``high``."""
UNIT = (
    rf"(?:{GAP}-?{GAP}(?:\+|plus|or more|多)?{GAP}(?:English |Chinese )?(?:words?\b|wds?\b)"
    rf"|{GAP}(?:多|余|来)?个?(?:汉|单|英文|中文)?(?:字(?![母体典幕段节号])|词(?![语汇组性])))"
)
"""The unit after a count."""

START = r"(?<![\dA-Za-z第$€¥零〇一二两三四五六七八九十百千万])(?<!\d[.,])"
"""A position where a count may begin: not within another number, an ordinal or a price."""
_STATED = re.compile(
    rf"{START}{COUNT}{UNIT}"
    # The unit may be missing if a label says what is counted: "字数要求：2000左右".
    rf"|(?:字数|字符数|篇幅|word{_BLANKS}(?:count|limit)|number of words|length)[^\d\n。；;]{{0,12}}?"
    rf"{COUNT.replace('low', 'low2').replace('high', 'high2')}"
    r"(?![\d%％页章段分秒])(?!\s*(?:pages?|chapters?|paragraphs?|sentences?|min|sec|character))",
    re.IGNORECASE,
)
# The length of a part, a rate, or the length of an existing text is not the length of the whole.
_OF_A_PART = re.compile(
    r"(?:\b(?:each|every|per|first|last|vocabulary of|list of|learn|memori[sz]e|(?:of|in|from|summari[sz]e|shorten) "
    r"(?:this|the|my|these|following))\b[^.。,，;；:\n]{0,24}|[每各](?:[^。，；,;：:\n]{0,10}))$",
    re.IGNORECASE,
)
_PART_FOLLOWS = re.compile(
    r"^\s*(?:左右|以上|以内)?\s*(?:(?:per|each|every|apiece|a|an|/)\s*(?:paragraph|section|chapter|part|minute|min|"
    r"page|day|item|scene|answer|person)?\b(?<!\ba)(?<!\ban)|/|每)",
    re.IGNORECASE,
)
_AROUND = 48  # characters
_LONGEST = 1_000_000  # "100 billion words" is not a request
_MAX_SIGNS = 60  # of a number; a model in a loop writes hundreds of digits, which no float holds


class Count(NamedTuple):
    """A count of words. For a range, the count is its middle, and ``range`` holds both ends."""

    words: int
    range: tuple[int, int] | None


class StatedCount(NamedTuple):
    """A count in a text, and what stands before and after its numbers."""

    number: Count
    before: str
    after: str


def stated_words(text: str) -> int | None:
    """The length that an instruction asks for, in words; None if it states none.

    A range gives its middle. If there are several lengths, the largest is taken as the length of the whole text. The
    length of each chapter, a rate, and the length of an existing text do not count.

    Example:
        ``stated_words("Write a 10,000-word novel, each chapter about 1k words") == 10_000``
    """
    return max(stated_lengths(text), default=None)


def stated_lengths(text: str) -> list[int]:
    """All different lengths of a whole text that an instruction states, in words, in order.

    Example:
        ``stated_lengths("An essay of 800 words or a talk of 500 words; 800 words is better") == [800, 500]``
    """
    # NFKC turns full-width digits, letters and punctuation into ASCII.
    counts = (stated.number.words for stated in stated_counts(unicodedata.normalize("NFKC", text)))
    return list(dict.fromkeys(words for words in counts if 0 < words <= _LONGEST))


def stated_counts(text: str) -> Iterator[StatedCount]:
    """All lengths of a whole text that an instruction states, in order, with the text around each number.

    Args:
        text: In Unicode's NFKC.
    """
    for match in _STATED.finditer(text):
        before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() : match.end() + 24]
        if _OF_A_PART.search(before) or _PART_FOLLOWS.match(after):
            continue
        low, high = ("low", "high") if match["low"] else ("low2", "high2")
        start, end = match.start(low), match.end(high if match[high] else low)
        count = count_of(match[low], match[high])
        yield StatedCount(count, text[max(0, start - _AROUND) : start], text[end : end + _AROUND])


def count_of(low: str, high: str | None) -> Count:
    """The count in the groups of ``COUNT``. In "2-3k" and "2到3万" the unit holds for both ends."""
    if high is None:
        return Count(round(_value(low)), None)
    most, least = _value(high), _value(low)
    unit = _unit(high)
    if _unit(low) == 1 and least < most / unit * 10:
        least *= unit
    if least > most:
        return Count(round(most), None)
    return Count(round((least + most) / 2), (round(least), round(most)))


def _unit(number: str) -> int:
    endings = {"k": 1000, "千": 1000, "thousand": 1000, "万": 10000}
    return next((value for ending, value in endings.items() if number.strip().lower().endswith(ending)), 1)


def _value(number: str) -> float:
    """The number in a text; 0 if it is too long to be a count."""
    number = number.strip().lower()
    if len(number) > _MAX_SIGNS:
        return 0
    if number[0].isdigit():
        return float(re.sub(r"[^\d.]", "", number)) * _unit(number)
    return _han_value(number) if number[0] in _HAN_DIGITS or number[0] in _HAN_UNITS else _english_value(number)


def _han_value(number: str) -> int:
    """ "三千五" is 3,500: a last digit stands for the next lower unit."""
    total = section = digit = 0
    lowest = 1
    for sign in number:
        if sign in _HAN_DIGITS:
            digit = _HAN_DIGITS[sign]
            lowest = 10 if sign in "零〇" else lowest
            continue
        unit = _HAN_UNITS[sign]
        if unit == 10000:
            total, section = (total + section + digit or 1) * unit, 0
        else:
            section += (digit or 1) * unit
        lowest, digit = unit, 0
    return total + section + digit * (lowest // 10 if lowest > 10 else 1)


def _english_value(number: str) -> int:
    total = 0
    for word in re.split(r"[\s-]+", number):
        factor = {"hundred": 100, "thousand": 1000}.get(word)
        total = (total or 1) * factor if factor else total + _ENGLISH_NUMBERS.get(word, 0)
    return total
