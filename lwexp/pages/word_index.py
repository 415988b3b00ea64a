"""Which words are in which texts of a page, so that its script can search them without loading them; pure.

A word is a run of letters and digits in lower case. Chinese and Japanese do not separate words, so their texts are
indexed by pairs of neighbouring characters, in parts of which a search loads one for each pair. ``search.js`` divides
search terms in the same way. What the index cannot answer alone, such as a term with punctuation, is searched in the
texts that have all its words and pairs.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from operator import sub
from typing import Any

# The same two sets of characters are in search.js. Everything else, such as white space and punctuation, is in neither.
EAST = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
LETTERS = "a-z0-9\u00c0-\u1fff\u2c00-\u2dff\ua000-\uf8ff\ufb00-\ufe0f\ufe70-\ufeff\U00010000-\U0001ffff"

_WORD = re.compile(f"[{LETTERS}]+")
_EAST = re.compile(f"[{EAST}]+")
_PART = 50_000  # texts listed in one part of the index of pairs; a part has about 60 kB
_MOST_PARTS = 128


class WordIndex:
    """Words of texts, which are numbered in the order in which they are added."""

    def __init__(self) -> None:
        self._words = _Postings()
        self._pairs = _Postings()
        self._firsts: list[int] = []
        self._count = 0

    def add(self, texts: Iterable[str]) -> None:
        """Add the texts of one entry."""
        self._firsts.append(self._count)
        for text in texts:
            lowered = text.lower()
            self._words.add(set(_WORD.findall(lowered)), self._count)
            if not lowered.isascii():
                self._pairs.add(set(_pairs(lowered)), self._count)
            self._count += 1

    def tree(self) -> dict[str, Any]:
        """The index of words as JSON.

        ``firsts`` has the number of each entry's first text, ``keys`` all words, and ``texts`` for each word the
        numbers of its texts, each as its distance from the one before; the first counts from -1.
        """
        return {"firsts": self._firsts, **self._words.tree(sorted(self._words.texts))}

    def pair_trees(self) -> list[dict[str, Any]]:
        """The index of pairs, in parts. A pair is in the part of its first character's code, modulo their number."""
        texts = self._pairs.texts
        parts = min(_MOST_PARTS, -(-sum(map(len, texts.values())) // _PART))
        keys: list[list[str]] = [[] for _ in range(parts)]
        for pair in sorted(texts):
            keys[ord(pair[0]) % parts].append(pair)
        return [self._pairs.tree(own) for own in keys]


class _Postings:
    """Keys, and the numbers of the texts that have them, in rising order."""

    def __init__(self) -> None:
        self.texts: dict[str, list[int]] = defaultdict(list)

    def add(self, keys: Iterable[str], number: int) -> None:
        texts = self.texts
        for key in keys:
            texts[key].append(number)

    def tree(self, keys: list[str]) -> dict[str, Any]:
        numbers = [[-1, *self.texts[key]] for key in keys]
        return {"keys": keys, "texts": [list(map(sub, own[1:], own)) for own in numbers]}


def _pairs(text: str) -> Iterator[str]:
    """Neighbouring characters of each run of Chinese or Japanese, and its last character alone.

    So the characters of a run are the first characters of its pairs, and a search for one finds it.
    """
    for run in _EAST.findall(text):
        yield from map("".join, pairwise(run))
        yield run[-1]
