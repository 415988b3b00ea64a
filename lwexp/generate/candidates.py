"""Rows of any conversation set -> the first thing a user asked, with what the row says about it.

Shapes, told apart row by row: WildChat ({"conversation": [...], "language", "toxic", "openai_moderation", ...}),
messages, sharegpt ("conversations"), alpaca ("instruction", "input"), and rows that hold a bare prompt. Only the first
user turn is read; what comes after it does not matter here, so a broken answer spoils nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

_CONVERSATIONS = ("conversation", "messages", "conversations")
_PROMPTS = ("instruction", "prompt", "text", "query", "question")
_IDS = ("conversation_hash", "conversation_id", "id")
_USERS = ("user", "human")


class SourceRow(Protocol):
    """A row as it lies in its file: a number, and a value or the problem there was in reading it."""

    @property
    def number(self) -> int: ...
    @property
    def value(self) -> object: ...
    @property
    def problem(self) -> str | None: ...


class Candidate(NamedTuple):
    """The first user turn of a row.

    Attributes:
        id: The row's own id where it has one, else ``<source>-<row number>``.
        text: What the user asked, stripped.
        language: The row's own word for it ("English", "zh"), or None.
        is_toxic: Whether a flag of the row says so: its own, its first turn's or a moderation's.
        is_redacted: Whether personal data was cut out of the first turn.
        required_words: A length that stands in the row itself, or None.
    """

    id: str
    text: str
    language: str | None
    is_toxic: bool
    is_redacted: bool
    required_words: int | None


class Unreadable(NamedTuple):
    """A row without a first user turn, and why: not_json, not_an_object, unknown_shape or no_user_turn."""

    reason: str
    detail: str


def read_candidate(row: SourceRow, source: str) -> Candidate | Unreadable:
    """Find the first user turn of a row."""
    if row.problem is not None:
        return Unreadable("not_json", row.problem)
    value = row.value
    if not isinstance(value, Mapping):
        return Unreadable("not_an_object", f"is a {type(value).__name__}, wanted an object with named columns")
    turn = _first_turn(value)
    if isinstance(turn, Unreadable):
        return turn
    text, details = turn
    own_id = next((str(value[key]) for key in _IDS if value.get(key)), None)
    words = value.get("required_words")
    return Candidate(
        id=own_id or f"{source}-{row.number}",
        text=text.strip(),
        language=details.get("language") or value.get("language"),
        is_toxic=bool(value.get("toxic") or details.get("toxic") or _is_flagged(value.get("openai_moderation"))),
        is_redacted=bool(details.get("redacted") if "redacted" in details else value.get("redacted")),
        required_words=words if isinstance(words, int) and words > 0 else None,
    )


def _first_turn(row: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | Unreadable:
    """The text of the first user turn, and its columns."""
    for column in _CONVERSATIONS:
        turns = row.get(column)
        if not isinstance(turns, list):
            continue
        for turn in turns:
            if not isinstance(turn, Mapping):
                return Unreadable("no_user_turn", f"{column} holds something that is no message")
            role, text = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
            if role == "system":
                continue
            if role in _USERS and isinstance(text, str) and text.strip():
                return text, turn
            return Unreadable("no_user_turn", f"{column} starts with {role!r}, wanted a user's text")
        return Unreadable("no_user_turn", f"{column} holds no message")
    for column in _PROMPTS:
        text = row.get(column)
        if isinstance(text, str) and text.strip():
            more = row.get("input") if column == "instruction" else None
            return (f"{text}\n{more}" if isinstance(more, str) and more.strip() else text), {}
    wanted = ", ".join((*_CONVERSATIONS, *_PROMPTS))
    return Unreadable("unknown_shape", f"has none of the columns {wanted}")


def _is_flagged(moderation: object) -> bool:
    turns = moderation if isinstance(moderation, list) else [moderation]
    return any(isinstance(turn, Mapping) and bool(turn.get("flagged")) for turn in turns)
