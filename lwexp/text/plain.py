"""Makes text from outside safe and short: spells out hidden characters, joins lines, makes folder names.

Text from a model, prompt file, config or library may hide characters, change the reading direction and span many
lines.
"""

import re
from collections.abc import Sequence

_DIRECTION = "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings, overrides and isolates
_ZERO_WIDTH = "\u200b\u2060\ufeff"  # space, word joiner, byte order mark
_JOINERS = "\u200c\u200d\u00ad"  # emoji and Arabic need the first two; the third is the soft hyphen
_TAGS = "\U000e0000-\U000e007f"  # invisible copies of ASCII, used to smuggle text

HIDDEN = re.compile(f"[{_ZERO_WIDTH}{_DIRECTION}\u2061-\u2064{_TAGS}]")
"""Characters that ordinary text does not need; joiners are not included."""

_UNSEEN = re.compile(f"[{_ZERO_WIDTH}{_DIRECTION}{_JOINERS}]")
# Also spelled out: controls other than tab and newline, interlinear annotation, lone surrogates (which UTF-8 cannot
# encode), and the two private-use characters that the report uses to mark names.
_TO_SPELL_OUT = re.compile(
    f"[{_ZERO_WIDTH}{_DIRECTION}{_TAGS}\u2061-\u2064\u206a-\u206f\u061c\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\ue000\ue001\ufff9-\ufffb\ud800-\udfff]"
)


def without_unseen(text: str) -> str:
    """The text without zero-width characters, joiners, soft hyphens and direction marks."""
    return _UNSEEN.sub("", text)


def visible(text: str) -> str:
    """The text with hidden and order-changing characters spelled out, such as ``[U+202E]``.

    Example:
        ``visible("a\\u202eb") == "a[U+202E]b"``; Chinese, emoji, tabs and newlines stay as they are.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return _TO_SPELL_OUT.sub(lambda match: f"[U+{ord(match[0]):04X}]", unified)


def one_line(text: str, limit: int) -> str:
    """Visible text without line breaks, cut to ``limit`` characters with an ellipsis."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def plural(count: int, noun: str) -> str:
    """``1 model``, ``1,200 models``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_line(error: BaseException, otherwise: str | None = None) -> str:
    """The first line of an error's message.

    Args:
        error: From any library.
        otherwise: Replaces an empty message; None uses the class name.
    """
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # the __str__ of another's class may fail
        lines = []
    return lines[0] if lines else type(error).__name__ if otherwise is None else otherwise


def slug(text: str, otherwise: str, *, longest: int = 40) -> str:
    """Turn text into part of a folder name: anything but ASCII letters, digits, dots and dashes becomes a dash.

    Args:
        text: The name of a model, file, folder or hub data set.
        otherwise: Used if nothing is left.
        longest: Number of characters kept.

    Example:
        ``slug("Qwen/Qwen2.5 (7B)", "model") == "Qwen-Qwen2.5-7B"``
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:longest].strip(".-") or otherwise


def first_difference(a: Sequence[object], b: Sequence[object]) -> int:
    """The first place where two sequences differ; the length of the shorter one if the other begins with it."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(a), len(b)))
