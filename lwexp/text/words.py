"""Word count, length score S_l and language detection: one definition for every room.

Source: THUDM/LongWriter evaluation/pred.py:17-18 at 3fcfdff, kept exactly so that scores compare with the
published ones, with its oddities: "don't" counts 2, "state-of-the-art" 4, digits and kana 0, a
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

# Chinese prompts about code quote much English; English texts hardly ever hold Chinese.
_ZH_SHARE = 0.2


def count_words(text: str) -> int:
    """Chinese characters plus words of Latin letters.

    Example:
        ``count_words("Hello world, don't") == 4`` and ``count_words("你好, world") == 3``
    """
    latin = len(_LATIN_WORD.findall(text))
    return latin if text.isascii() else latin + len(_HAN.findall(text))


def count_words_unicode(text: str) -> int:
    """Segments between the default word boundaries of Unicode (UAX 29) that hold a letter or a digit.

    Where it differs from ``count_words``: accents, other scripts and numbers count; English glued to Chinese counts;
    "don't" is 1; each kana is 1, as each Chinese character is, those beyond U+9FFF included. "state-of-the-art" is 4
    in both. Thai and other scripts without spaces would need a dictionary; they count about one a letter.

    Example:
        ``count_words_unicode("café, 使用Python") == 4``, where ``count_words`` says 2
    """
    return len(_segment().findall(text))


def split_words(text: str) -> list[str]:
    """The words that ``count_words_unicode`` counts, in lower case: what repetition is measured on."""
    words: list[str] = _segment().findall(text.lower())
    return words


@functools.cache
def _segment() -> Any:
    # Imported late: most commands count as the paper does. UAX 29 keeps a run of katakana together; here each counts.
    import regex  # type: ignore[import-untyped]

    return regex.compile(r"(?w)[\p{Katakana}ー]|\b(?!_+\b)\w.*?\b")


def count_by(counter: Counter, text: str) -> int:
    """Words of a text by a bench's counter."""
    return count_words(text) if counter == "longwriter" else count_words_unicode(text)


def language_of(text: str) -> Language:
    """``zh`` where at least a fifth of the counted words are Chinese characters, else ``en``."""
    if text.isascii():
        return "en"
    han = len(_HAN.findall(text))
    return "zh" if han and han >= _ZH_SHARE * (han + len(_LATIN_WORD.findall(text))) else "en"


def score_length(required: int, words: int) -> float:
    """Score a length from 0 to 100; exactly as long as asked for is 100.

    Too long loses over three times the required length, too short over a third of it:

        words      0 to l/3   l/2   l     2l     3l     4l and more
        S_l        0          50    100   66.7   33.3   0

    Args:
        required: Words asked for, above 0.
        words: Words produced. 0 words score 0, where the published code divides by zero.

    Source: the paper, section 4.1; THUDM/LongWriter evaluation/eval_length.py at 3fcfdff.
    """
    if words == 0:
        return 0.0
    if words > required:
        return 100 * max(0.0, 1 - (words / required - 1) / 3)
    return 100 * max(0.0, 1 - (required / words - 1) / 2)
