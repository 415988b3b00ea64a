"""How long a text is and which language it is in: one definition, shared by every room.

Source: THUDM/LongWriter evaluation/pred.py:17-18 at 3fcfdff, kept exactly so that scores compare with the
published ones. Its oddities are part of it: "don't" counts 2, "state-of-the-art" 4, digits and kana 0, a
Latin word with an accent or glued to Chinese characters 0.
"""

from __future__ import annotations

import re

from lwexp.records import Language

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


def language_of(text: str) -> Language:
    """``zh`` where at least a fifth of the counted words are Chinese characters, else ``en``."""
    if text.isascii():
        return "en"
    han = len(_HAN.findall(text))
    return "zh" if han and han >= _ZH_SHARE * (han + len(_LATIN_WORD.findall(text))) else "en"
