"""Measures a text without a judge: segments, repetition and distinctness, all on the words of ``split_words``."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from lwexp.text.words import split_words

_SMALLEST = 40  # words of a segment, at least: in a shorter one, a single word changes the shares too much
_GRAM = 4
_WINDOW = 100  # words; distinctness is measured in windows, because it falls as texts get longer

_PARAGRAPH = re.compile(r"[^\n]*(?:\n+|$)")
_SENTENCE_END = r"(?:[.!?]+[\"'”’)]*(?:\s+|\Z)|[。！？]+[\"'”’）]*\s*|\n+|\Z)"
_INSIDE = r"[\s\S][^.!?。！？\n]*"  # an end begins with one of these characters, so the others are skipped at once
_SENTENCE = re.compile(rf"{_INSIDE}(?:(?!{_SENTENCE_END}){_INSIDE})*{_SENTENCE_END}")


class Shares(NamedTuple):
    """Two shares of a segment: its 4-grams that occur earlier in the text, and its 2-grams that are distinct."""

    repeated: float | None
    distinct: float | None


class Segment(NamedTuple):
    """A part of a text, and its words as ``split_words`` gives them."""

    text: str
    words: list[str]


def segments(text: str, count: int) -> list[Segment]:
    """Cut a text into up to ``count`` consecutive parts of about equally many words; joined, they give the text.

    Cuts lie between paragraphs if there are at least twice as many paragraphs as parts, else between sentences. There
    are fewer parts if one would have fewer than 40 words; a short text is one part, an empty one has none.
    """
    paragraphs = [piece for piece in _PARAGRAPH.findall(text) if piece]
    # In ASCII text both ways of cutting give the same words, so sentences need not be counted after paragraphs.
    is_tried = text.isascii() and len(paragraphs) < 2 * count
    pieces = _with_words(_SENTENCE.findall(text) if is_tried else paragraphs)
    total = sum(len(piece.words) for piece in pieces)
    count = max(1, min(count, total // _SMALLEST))
    has_sentences = count > 1 and len(paragraphs) < 2 * count
    if count > 1 and has_sentences != is_tried:
        pieces = _with_words(_SENTENCE.findall(text) if has_sentences else paragraphs)
        total = sum(len(piece.words) for piece in pieces)
    parts: list[list[Segment]] = [[] for _ in range(count)]
    done = 0
    for piece in pieces:
        # A piece goes into the part that contains its middle.
        place = int((done + len(piece.words) / 2) * count / total) if total else 0
        parts[min(place, count - 1)].append(piece)
        done += len(piece.words)
    return [
        Segment("".join(piece.text for piece in part), [word for piece in part for word in piece.words])
        for part in parts
        if part
    ]


def _with_words(pieces: Sequence[str]) -> list[Segment]:
    return [Segment(piece, split_words(piece)) for piece in pieces if piece]


def shares_by_segment(parts: Sequence[Sequence[str]]) -> list[Shares]:
    """Repetition and distinctness of the words of each part; a 4-gram is repeated if it occurs anywhere before."""
    seen: set[tuple[str, ...]] = set()
    before: list[str] = []
    shares = []
    for words in parts:
        text = [*before, *words]  # ``before`` is one word short of a 4-gram, so each 4-gram ends in this part
        grams = list(zip(text, text[1:], text[2:], text[3:], strict=False))
        known = len(seen)
        seen.update(grams)
        repeated = len(grams) - (len(seen) - known)
        shares.append(Shares(repeated / len(grams) if grams else None, _distinct(words)))
        before = text[-(_GRAM - 1) :]
    return shares


def _distinct(words: Sequence[str]) -> float | None:
    """Share of different 2-grams, averaged over windows of 100 words; a remainder shorter than a window is ignored."""
    starts = range(0, max(1, len(words) - _WINDOW + 1), _WINDOW)
    windows = [list(pairwise(words[start : start + _WINDOW])) for start in starts]
    shares = [len(set(pairs)) / len(pairs) for pairs in windows if pairs]
    return sum(shares) / len(shares) if shares else None
