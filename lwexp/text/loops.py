"""Finds loops: the same words repeated again and again by a model that is stuck."""

import re
from collections.abc import Sequence

import numpy as np

_TOKEN = re.compile(r"[\u4e00-\u9fff]|\w+")
_REPEATS = 4  # a chorus may come three times; four in a row with nothing between them is a loop
_LEAST = 40  # tokens; shorter repetitions are "ha ha ha"
_LONGEST_PERIOD = 200  # tokens in the repeated passage

_END_REPEATS = 3  # fewer are enough at the end of an answer, because the model never left the loop
_END_LEAST = 30  # words


def find_loop(text: str) -> str | None:
    """The passage that occurs at least four times in a row, over at least forty words or characters, or None."""
    tokens = _TOKEN.findall(text.lower())
    if len(tokens) < _LEAST:
        return None
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    ids = np.array([numbers[token] for token in tokens])
    for period in range(1, min(_LONGEST_PERIOD, len(ids) // _REPEATS) + 1):
        # Find stretches in which every token equals the token one period earlier.
        breaks = np.flatnonzero(np.concatenate(([True], ids[period:] != ids[:-period], [True])))
        longest = int(np.argmax(np.diff(breaks)))
        length = int(breaks[longest + 1] - breaks[longest] - 1)
        if length >= (_REPEATS - 1) * period and length + period >= _LEAST:
            return " ".join(tokens[breaks[longest] : breaks[longest] + period])
    return None


def looped_words(words: Sequence[str]) -> int:
    """Number of words at the end of a text that repeat one passage at least three times; 0 if the text has no such end.

    Fewer than 30 words do not count, so a refrain or "ha, ha, ha" is not a loop.
    """
    for period in range(1, len(words) // _END_REPEATS + 1):
        at = len(words) - 1
        while at >= period and words[at] == words[at - period]:
            at -= 1
        length = len(words) - 1 - at + period
        if length >= _END_REPEATS * period and length >= _END_LEAST:
            return length
    return 0
