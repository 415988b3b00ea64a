"""Ranges of required lengths, and how they are written on the command line."""

import re

from pydantic import Field

from lwexp.extend.settings import Strict


class WordRange(Strict):
    """A range of required lengths: low <= words < high, or <= high if ``closed``."""

    low: int = Field(ge=0)
    high: int = Field(gt=0)
    closed: bool = False

    @property
    def label(self) -> str:
        """``[0,500)`` or ``[4000,20000]``."""
        return f"[{self.low},{self.high}{']' if self.closed else ')'}"

    def __contains__(self, words: int | None) -> bool:
        return words is not None and (self.low <= words < self.high or (self.closed and words == self.high))


_NO_LIMIT = 10**9
_RANGE = re.compile(
    r"(?P<open>[\[(])(?P<low>[^,]*),(?P<high>[^,]*)(?P<close>[\])])"
    r"|(?P<from>[^-<>=+]+)-(?P<to>[^-<>=+]+)"
    r"|(?P<least>[^-<>=+]+)\+"
    r"|(?P<sign><=?|>=?)(?P<bound>[^-<>=+]+)"
    r"|(?P<exactly>[^-<>=+]+)"
)


def parse_range(value: str | int) -> WordRange:
    """Read a range of required lengths; ``k`` means thousand.

    Example:
        ``[2000,4000)``, ``2k-4k`` (both ends included), ``4k+``, ``<500``, ``>=500``, ``1000``

    Raises:
        ValueError: If it has another form, or contains no length.
    """
    text = str(value)
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ValueError(f"bench.range: {text!r} is not a range; write '[2000,4000)', 2k-4k, 4k+, '<500' or 1000")
    part = match.groupdict()
    if part["open"]:
        low = _words(part["low"], text) + (part["open"] == "(")
        high, closed = _words(part["high"], text), part["close"] == "]"
    elif part["from"]:
        low, high, closed = _words(part["from"], text), _words(part["to"], text), True
    elif part["least"]:
        low, high, closed = _words(part["least"], text), _NO_LIMIT, True
    elif part["exactly"]:
        low = high = _words(part["exactly"], text)
        closed = True
    else:
        bound, upper = _words(part["bound"], text), part["sign"].startswith("<")
        low = 0 if upper else bound + (part["sign"] == ">")
        high, closed = (bound, part["sign"] == "<=") if upper else (_NO_LIMIT, True)
    if high < low or (high == low and not closed) or high == 0:
        raise ValueError(f"bench.range: no required length lies in {text!r}")
    return WordRange(low=low, high=high, closed=closed)


def _words(number: str, text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(k?)", number, re.IGNORECASE)
    if match is None:
        raise ValueError(f"bench.range: {number!r} in {text!r} is not a number of words; write 500, 2k or 2.5k")
    return round(float(match[1]) * (1000 if match[2] else 1))
