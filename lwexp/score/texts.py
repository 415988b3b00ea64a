"""What a text shows without a judge: parts, repetition, distinctness, loops. Pure, on the words of ``split_words``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from lwexp.words import count_words_unicode, split_words

_SMALLEST = 40  # words of a segment: below that, shares jump with single words
_GRAM = 4
_WINDOW = 100  # words over which distinctness is taken, because it falls with length by itself
_LOOP_WORDS = 30
_LOOP_TIMES = 3

_PARAGRAPH = re.compile(r"[^\n]*(?:\n+|$)")
_SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?。！？\n]+[\"'”’）)]*\s*|$)")


class Shares(NamedTuple):
    """Of one segment: 4-grams that stand earlier in the text, and different 2-grams; None without any."""

    repeated: float | None
    distinct: float | None


def segments(text: str, count: int) -> list[str]:
    """Cut a text into up to ``count`` consecutive parts of about equal words; joined they are the text.

    Cut between paragraphs where there are at least twice as many of these as parts, else between sentences. Fewer parts
    where a part would have less than 40 words; one part for a short text.
    """
    total = count_words_unicode(text)
    count = max(1, min(count, total // _SMALLEST))
    pieces = [piece for piece in _PARAGRAPH.findall(text) if piece]
    if len(pieces) < 2 * count:
        pieces = [piece for piece in _SENTENCE.findall(text) if piece]
    parts: list[list[str]] = [[] for _ in range(count)]
    done = 0
    for piece in pieces:
        words = count_words_unicode(piece)
        # A piece belongs where its middle lies.
        place = int((done + words / 2) * count / total) if total else 0
        parts[min(place, count - 1)].append(piece)
        done += words
    return [joined for joined in ("".join(part) for part in parts) if joined]


def shares_by_segment(parts: Sequence[str]) -> list[Shares]:
    """Repetition and distinctness of each part; what a part repeats may stand in itself or in any part before."""
    seen: set[tuple[str, ...]] = set()
    before: list[str] = []
    shares = []
    for part in parts:
        words = split_words(part)
        text = before + words
        first = max(0, len(text) - len(words) - _GRAM + 1)
        grams = [tuple(text[i : i + _GRAM]) for i in range(first, len(text) - _GRAM + 1)]
        repeated = 0
        for gram in grams:
            repeated += gram in seen
            seen.add(gram)
        shares.append(Shares(repeated / len(grams) if grams else None, _distinct(words)))
        before = text[-(_GRAM - 1) :]
    return shares


def _distinct(words: Sequence[str]) -> float | None:
    """Mean over windows of 100 words of different 2-grams over 2-grams; a rest shorter than a window is left out."""
    starts = range(0, max(1, len(words) - _WINDOW + 1), _WINDOW)
    shares = []
    for start in starts:
        window = words[start : start + _WINDOW]
        pairs = list(pairwise(window))
        if pairs:
            shares.append(len(set(pairs)) / len(pairs))
    return sum(shares) / len(shares) if shares else None


def looped_words(text: str) -> int:
    """Words of the longest end that repeats one passage three times or more, word by word; 0 where there is none.

    An end shorter than 30 words is no loop, so a refrain or "ha, ha, ha" is none.
    """
    words = split_words(text)
    for period in range(1, len(words) // _LOOP_TIMES + 1):
        at = len(words) - 1
        while at >= period and words[at] == words[at - period]:
            at -= 1
        length = len(words) - 1 - at + period
        if length >= _LOOP_TIMES * period and length >= _LOOP_WORDS:
            return length
    return 0
