"""Numbers and outside text, made readable and harmless; pure.

Everything a model, a prompt file or a config says is outside text. HTML is escaped by jinja2; what is left
to do here is characters that lie about their order or hide, and the syntax of CSV and Markdown cells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

NO_VALUE = "\N{EN DASH}"

# Our sentences put a model's name between these two, for it may be an ordinary word such as "long".
_OPEN, _CLOSE = "\ue000", "\ue001"
# The two above, controls other than tab and newline, bidi marks and overrides, byte-order mark, interlinear annotation,
# tag characters (invisible, used to smuggle text) and lone surrogates (cannot be written as UTF-8).
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ue000\ue001\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
# What spreadsheets read as the start of a formula, also after white space.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def visible(text: str) -> str:
    """The text with hidden and order-changing characters spelled out, such as ``[U+202E]``.

    Example:
        ``visible("a\\u202eb") == "a[U+202E]b"``; Chinese, emoji, tabs and newlines stay as they are.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", unified)


def named(label: str) -> str:
    """A model's name, marked as one inside a sentence of ours."""
    return f"{_OPEN}{label}{_CLOSE}"


def quoted(sentence: str) -> str:
    """The sentence with its names in quotation marks, for files and terminals."""
    return sentence.replace(_OPEN, '"').replace(_CLOSE, '"')


def split_names(sentence: str) -> list[tuple[str, bool]]:
    """Pieces of a sentence, each with whether it is a name."""
    pieces = re.split(f"{_OPEN}([^{_CLOSE}]*){_CLOSE}", sentence)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


def one_line(text: str, limit: int) -> str:
    """Visible text without line breaks, cut to ``limit`` characters with an ellipsis."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet runs: text that could be a formula gets a leading apostrophe.

    Numbers stay numbers (a negative one is no formula); None becomes an empty cell, which is not zero.
    """
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = visible(str(value))
    return "'" + text if _FORMULA.match(text) or text[:1] in ("\t", "\n") else text


def markdown_cell(value: object, limit: int = 200) -> str:
    """A cell that cannot leave its table and carries no HTML, link or emphasis."""
    text = one_line(str(value), limit)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!~])", r"\\\1", text)


def score(value: float | None) -> str:
    """One decimal, or a dash where there is no score."""
    return NO_VALUE if value is None else f"{value:.1f}"


def signed(value: float) -> str:
    """One decimal with its sign; a real minus sign, so that it lines up with the plus."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def span(interval: Sequence[float] | None) -> str:
    """``58.1 to 66.0``, or nothing where there is no interval."""
    return "" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


def words(value: float | None) -> str:
    """A whole number with thousands separators, or a dash."""
    return NO_VALUE if value is None else f"{value:,.0f}"


def dollars(value: float | None) -> str:
    """``$0.00``, with more digits where the sum is below a cent."""
    if value is None:
        return NO_VALUE
    return f"${value:,.4f}" if 0 < value < 0.01 else f"${value:,.2f}"


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
