"""Pieces that several formats share: texts of messages, and how a generation ended."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lwexp.extend.columns import BrokenRowError

# Names that servers and tools give to the same ends.
_ENDS = {
    "stop": "stop", "eos": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "model_length": "length",
}  # fmt: skip


def finish(reason: object) -> str:
    """``stop`` or ``length`` for the words that mean it; any other word as it is."""
    return _ENDS.get(str(reason), str(reason))


def text_of(content: object) -> tuple[str, str]:
    """Text and reasoning of a message's content: a string, or a list of parts.

    Raises:
        BrokenRowError: If it is neither.
    """
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, Sequence):
        raise BrokenRowError("wrong_type", f"a message's content is {content!r:.60}, wanted text or a list of parts")
    parts = [part for part in content if isinstance(part, Mapping)]
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    thoughts = [str(part["reasoning"]) for part in parts if isinstance(part.get("reasoning"), str)]
    return "".join(texts), "\n\n".join(thoughts)


def last_of(messages: object, *roles: str) -> str | None:
    """The text of the last message with one of these roles; None if there is none."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    own = [m for m in messages if isinstance(m, Mapping) and str(m.get("role", m.get("from"))).lower() in roles]
    return text_of(own[-1].get("content", own[-1].get("value", own[-1].get("prompt"))))[0] if own else None


def prompt_in(value: Any) -> str | None:
    """The prompt in a request: text, messages, or messages written as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return value if isinstance(value, str) else last_of(value, "user", "human")


def named(row: Mapping[str, Any], *columns: str) -> tuple[str, ...]:
    """The ids in a row's columns, as text."""
    return tuple(str(row[column]) for column in columns if row.get(column) not in (None, ""))
