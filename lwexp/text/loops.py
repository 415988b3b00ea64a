"""Finds loops: the same words repeated again and again by a model that is stuck."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lwexp.text.words import word_spans

_TOKEN = re.compile(r"[\u4e00-\u9fff]|\w+")
_REPEATS = 4  # a chorus may come three times; four in a row with nothing between them is a loop
_LEAST = 40  # tokens; shorter repetitions are "ha ha ha"
_LONGEST_PERIOD = 200  # tokens in the repeated passage

_END_REPEATS = 3  # at the end of an answer fewer repeats are enough, because the model never left the loop
_END_LEAST = 30  # words

_LONGEST_BLOCK = 1024  # tokens
_LEAST_BLOCKS = 64  # tokens of all repeats together


def find_loop(text: str) -> str | None:
    """A passage that is repeated at least four times without a break, forty words or characters in all; else None."""
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


class Loop(NamedTuple):
    """A repeated passage at the end of a text: the index of its first word, and the passage's words."""

    start: int
    period: int


def find_end_loop(words: Sequence[str]) -> Loop | None:
    """The end of a text that repeats one passage three times or more, word by word.

    An end shorter than 30 words does not count, so a refrain or "ha, ha, ha" is no loop.
    """
    last = len(words) - 1
    ends = range(max(0, last - len(words) // _END_REPEATS), last)
    # Only where the last word occurs; the shortest period comes first.
    for period in [last - at for at in reversed(ends) if words[at] == words[last]]:
        at = last
        while at >= period and words[at] == words[at - period]:
            at -= 1
        start = at + 1 - period
        if len(words) - start >= max(_END_REPEATS * period, _END_LEAST):
            return Loop(start, period)
    return None


def ends_in_repeats(tokens: Sequence[int], repeats: int) -> bool:
    """Whether a sequence ends with one passage, of up to 1,024 tokens, so many times in a row.

    Repeats of fewer than 64 tokens together do not count, so a refrain or a row of dashes does not.
    """
    for period in range(1, min(_LONGEST_BLOCK, len(tokens) // repeats) + 1):
        equal = max((repeats - 1) * period, _LEAST_BLOCKS - period)
        is_long_enough = equal + period <= len(tokens)
        if (
            is_long_enough
            and tokens[-1] == tokens[-1 - period]
            and tokens[-equal:] == tokens[-equal - period : -period]
        ):
            return True
    return False


def looped_words(words: Sequence[str]) -> int:
    """Number of words in the loop at the end of a text, its first passage included; 0 without a loop."""
    loop = find_end_loop(words)
    return 0 if loop is None else len(words) - loop.start


def end_of_first_passage(text: str) -> int | None:
    """Where the loop at the end of a text begins to repeat itself, in characters; None without a loop."""
    spans = word_spans(text)
    loop = find_end_loop([text[start:end].lower() for start, end in spans])
    return None if loop is None else spans[loop.start + loop.period][0]


def without_loop(text: str) -> str:
    """The text up to the end of a loop's first passage; a text without a loop is returned unchanged."""
    end = end_of_first_passage(text)
    return text if end is None else text[:end].rstrip()
