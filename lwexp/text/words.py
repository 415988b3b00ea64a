"""Word count, length score S_l and language detection, defined once for every room.

Source: THUDM/LongWriter evaluation/pred.py:17-18 at 3fcfdff. Kept exactly, oddities included, so that scores can be
compared with the published ones: "don't" counts 2, "state-of-the-art" 4, digits and kana 0, a
Latin word with an accent or glued to Chinese characters 0.
"""

import functools
import re
from typing import Any, Literal

from lwexp.records import Language

Counter = Literal["longwriter", "unicode"]

LANGUAGES: tuple[Language, ...] = ("en", "zh")

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"\b[a-zA-Z]+\b")
# UAX 29: "." and ":" join letters, and ".", "," and ";" digits.
_ASCII_WORD = re.compile(
    r"(?:(?<!_)_+)?[A-Za-z0-9][A-Za-z0-9_]*(?:(?:(?<=[A-Za-z])[.:](?=[A-Za-z])|(?<=[0-9])[.,;](?=[0-9]))[A-Za-z0-9_]+)*"
)
_BETWEEN_WORDS = re.compile(r"\W")

# A list of the words of a text takes 15 times as much memory as the text, so a long one is counted in pieces.
_PIECE = 1 << 20

# Chinese prompts about code quote much English; English texts rarely contain Chinese.
_ZH_SHARE = 0.2


def count_words(text: str) -> int:
    """Chinese characters plus words of Latin letters.

    Example:
        ``count_words("Hello world, don't") == 4`` and ``count_words("你好, world") == 3``
    """
    latin = _count_latin(text)
    return latin if text.isascii() else latin + _count_han(text)


def _count_latin(text: str) -> int:
    """Words of Latin letters. Pieces end between words, where ``\\b`` sees what it sees in the whole text."""
    count = start = 0
    while start < len(text):
        end = start + _PIECE
        if end < len(text):
            gap = _BETWEEN_WORDS.search(text, end)
            end = len(text) if gap is None else gap.start()
        count += len(_LATIN_WORD.findall(text, start, end))
        start = end
    return count


def _count_han(text: str) -> int:
    """Chinese characters."""
    return sum(len(_HAN.findall(text, start, start + _PIECE)) for start in range(0, len(text), _PIECE))


def count_words_unicode(text: str) -> int:
    """Number of segments between Unicode word boundaries (UAX 29) that contain a letter or a digit.

    Differences from ``count_words``: accented words, other scripts and numbers count; English glued to Chinese counts;
    "don't" is 1; each kana and each Chinese character is 1, also beyond U+9FFF. "state-of-the-art" is 4 in both. Thai
    and other scripts without spaces would need a dictionary; they count about 1 per letter.

    Example:
        ``count_words_unicode("café, 使用Python") == 4``, where ``count_words`` says 2
    """
    return len(_pattern_for(text).findall(text))


def split_words(text: str) -> list[str]:
    """The words that ``count_words_unicode`` counts, in lower case; repetition is measured on them."""
    words: list[str] = _pattern_for(text).findall(text.lower())
    return words


def _pattern_for(text: str) -> Any:
    """A pattern for the words of a text. The faster one is enough for ASCII without apostrophes."""
    return _ASCII_WORD if text.isascii() and "'" not in text else _segment()


def word_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each of these words, in characters."""
    return [match.span() for match in _segment().finditer(text)]


@functools.cache
def _segment() -> Any:
    # Imported late, because most commands use ``count_words``. UAX 29 joins a run of katakana; here each one counts.
    import regex  # type: ignore[import-untyped]

    return regex.compile(r"(?w)[\p{Katakana}ー]|\b(?!_+\b)\w.*?\b")


def count_by(counter: Counter, text: str) -> int:
    """Count the words of a text with a bench's counter."""
    return count_words(text) if counter == "longwriter" else count_words_unicode(text)


def language_of(text: str) -> Language:
    """``zh`` if at least a fifth of the counted words are Chinese characters, else ``en``."""
    if text.isascii():
        return "en"
    han = _count_han(text)
    return "zh" if han and han >= _ZH_SHARE * (han + _count_latin(text)) else "en"


def score_length(required: int, words: int) -> float:
    """Score a length from 0 to 100; exactly the required length scores 100.

    Above the required length l, the score falls linearly with words / l; below it, linearly with l / words:

        words      0 to l/3   l/2   l     2l     3l     4l and more
        S_l        0          50    100   66.7   33.3   0

    Args:
        required: Words asked for, above 0.
        words: Words produced. 0 words score 0; the published code divides by zero there.

    Source: the paper, section 4.1; THUDM/LongWriter evaluation/eval_length.py at 3fcfdff.
    """
    if words == 0:
        return 0.0
    if words > required:
        return 100 * max(0.0, 1 - (words / required - 1) / 3)
    return 100 * max(0.0, 1 - (required / words - 1) / 2)
