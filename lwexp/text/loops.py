"""Degenerate text: the same words again and again, from a model that is stuck."""

import re
from collections.abc import Sequence

import numpy as np

_TOKEN = re.compile(r"[\u4e00-\u9fff]|\w+")
_REPEATS = 4  # a chorus comes three times; four times in a row, with nothing between, is a loop
_LEAST = 40  # tokens: shorter ones are "ha ha ha"
_LONGEST_PERIOD = 200  # tokens of what is repeated

_END_REPEATS = 3  # fewer at the end of an answer, where the model did not get out of the loop
_END_LEAST = 30  # words


def find_loop(text: str) -> str | None:
    """The words that come at least four times in a row, forty words or characters in all, or None."""
    tokens = _TOKEN.findall(text.lower())
    if len(tokens) < _LEAST:
        return None
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    ids = np.array([numbers[token] for token in tokens])
    for period in range(1, min(_LONGEST_PERIOD, len(ids) // _REPEATS) + 1):
        # A stretch in which every token equals the one a period before it.
        breaks = np.flatnonzero(np.concatenate(([True], ids[period:] != ids[:-period], [True])))
        longest = int(np.argmax(np.diff(breaks)))
        length = int(breaks[longest + 1] - breaks[longest] - 1)
        if length >= (_REPEATS - 1) * period and length + period >= _LEAST:
            return " ".join(tokens[breaks[longest] : breaks[longest] + period])
    return None


def looped_words(words: Sequence[str]) -> int:
    """Words at the end of a text that repeat one passage three times or more, word by word; 0 without such an end.

    An end shorter than 30 words does not count, so a refrain or "ha, ha, ha" is no loop.
    """
    for period in range(1, len(words) // _END_REPEATS + 1):
        at = len(words) - 1
        while at >= period and words[at] == words[at - period]:
            at -= 1
        length = len(words) - 1 - at + period
        if length >= _END_REPEATS * period and length >= _END_LEAST:
            return length
    return 0
