"""Numbers as a reader sees them, and sentences that carry models' names; pure."""

import re
from collections.abc import Sequence

from lwexp.text.plain import plural as plural  # sentences of pages take it from here

# They enclose a name inside a sentence. lwexp.text.plain.visible keeps these private-use characters out of other text.
NAME_OPEN, NAME_CLOSE = "\ue000", "\ue001"
NO_VALUE = "\N{EN DASH}"
LANGUAGES = {"en": "English", "zh": "Chinese"}


def named(label: str) -> str:
    """A model's name, marked as a name inside a sentence, because it may be an ordinary word such as "long"."""
    return f"{NAME_OPEN}{label}{NAME_CLOSE}"


def quoted(sentence: str) -> str:
    """The sentence with its names in quotation marks, for files and terminals."""
    return sentence.replace(NAME_OPEN, '"').replace(NAME_CLOSE, '"')


def split_names(sentence: str) -> list[tuple[str, bool]]:
    """Pieces of a sentence, each with a flag that says whether it is a name."""
    pieces = re.split(f"{NAME_OPEN}([^{NAME_CLOSE}]*){NAME_CLOSE}", sentence)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


def score(value: float | None, decimals: int = 1) -> str:
    """A rounded score, or a dash where there is none."""
    return NO_VALUE if value is None else f"{value:.{decimals}f}"


def share(value: float, scale: tuple[float, float]) -> float:
    """Where a value lies on a scale, from 0 to 1."""
    low, high = scale
    return (value - low) / (high - low)


def signed(value: float, decimals: int = 1) -> str:
    """With its sign; a real minus sign, so that it lines up with the plus."""
    return f"{value:+.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def span(interval: Sequence[float] | None, decimals: int = 1) -> str:
    """``58.1 to 66.0``, or nothing if there is no interval."""
    return "" if interval is None else f"{interval[0]:.{decimals}f} to {interval[1]:.{decimals}f}"


def confidence(interval: Sequence[float] | None, decimals: int = 1) -> str:
    """`` (95% interval 58.1 to 66.0)`` behind a number in a sentence, or nothing."""
    return f" (95% interval {span(interval, decimals)})" if interval else ""


def words(value: float | None) -> str:
    """A whole number with thousands separators, or a dash."""
    return NO_VALUE if value is None else f"{value:,.0f}"


def dollars(value: float | None) -> str:
    """``$0.00``, with more digits where the sum is below a cent."""
    if value is None:
        return NO_VALUE
    return f"${value:,.4f}" if 0 < value < 0.01 else f"${value:,.2f}"


def hours(value: float | None) -> str:
    """GPU hours with one decimal, or a dash where none were used or known."""
    return NO_VALUE if value is None else f"{value:,.1f}"


def duration(seconds: float | None) -> str:
    """``42 s``, ``1 min 26 s`` or ``3 h 05 min``."""
    if seconds is None:
        return NO_VALUE
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
