"""Which words are in which texts of a page, so that its script can search them without loading them; pure.

Words are runs of ASCII letters and digits in lower case. A search term of these characters is in a text exactly if it
is part of one of the text's words; other terms, such as Chinese ones, are searched in the texts themselves.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

_WORD = re.compile("[a-z0-9]+")


class WordIndex:
    """Words of texts, which are numbered in the order in which they are added."""

    def __init__(self) -> None:
        self._texts: dict[str, list[int]] = defaultdict(list)
        self._last: dict[str, int] = {}
        self._firsts: list[int] = []
        self._count = 0

    def add(self, texts: Iterable[str]) -> None:
        """Add the texts of one entry."""
        self._firsts.append(self._count)
        for text in texts:
            for word in set(_WORD.findall(text.lower())):
                self._texts[word].append(self._count - self._last.get(word, -1))
                self._last[word] = self._count
            self._count += 1

    def tree(self) -> dict[str, Any]:
        """The index as JSON.

        ``firsts`` has the number of each entry's first text, ``words`` all words, and ``texts`` for each word the
        numbers of its texts, each as its distance from the one before; the first counts from -1.
        """
        words = sorted(self._texts)
        return {"firsts": self._firsts, "words": words, "texts": [self._texts[word] for word in words]}
