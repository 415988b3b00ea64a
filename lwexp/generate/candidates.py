"""Reads the first user turn of a row of any conversation set, with the row's flags.

The format is detected row by row; rows with a bare prompt are read too. Later turns are not read, so a broken answer
does not matter.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lwexp.extend.columns import BrokenRowError, JsonRow, read_length
from lwexp.extend.rows import ROW_FORMATS, AutoFormat, RawRow, format_of
from lwexp.text.encodable import encodable_json

_PROMPTS = ("prompt", "text", "query", "question")
_IDS = ("conversation_hash", "conversation_id", "id")


class Candidate(NamedTuple):
    """The first user turn of a row.

    Attributes:
        id: The row's own id if it has one, else ``<source>-<row number>``.
        text: What the user asked, stripped.
        language: The row's own word for it ("English", "zh"), or None.
        is_toxic: Whether the row, its first turn or a moderation result is flagged.
        is_redacted: Whether personal data was removed from the first turn.
        required_words: The row's own required length, or None.
    """

    id: str
    text: str
    language: str | None
    is_toxic: bool
    is_redacted: bool
    required_words: int | None


class Rejected(NamedTuple):
    """Why a row was rejected: a short reason to count, and a line for people."""

    reason: str
    detail: str


def read_candidate(row: RawRow, source: str) -> Candidate | Rejected:
    """The first user turn of a row, or why it has none, such as not_json or no_user_turn."""
    if row.problem is not None:
        return Rejected("not_json", row.problem)
    value = row.value
    if not isinstance(value, Mapping):
        return Rejected("not_an_object", f"is a {type(value).__name__}, wanted an object with named columns")
    try:
        value = encodable_json(value).value
    except RecursionError:
        return Rejected("wrong_type", "is nested too deeply to be a row")
    turn = _first_turn(value)
    if isinstance(turn, Rejected):
        return turn
    text, details = turn
    try:
        words = read_length(value)
    except BrokenRowError as error:
        return Rejected(error.reason, str(error))
    own_id = next((str(value[key]) for key in _IDS if value.get(key)), None)
    return Candidate(
        id=own_id or f"{source}-{row.number}",
        text=text.strip(),
        language=details.get("language") or value.get("language"),
        is_toxic=bool(value.get("toxic") or details.get("toxic") or _is_flagged(value.get("openai_moderation"))),
        is_redacted=bool(details.get("redacted") if "redacted" in details else value.get("redacted")),
        required_words=words,
    )


def _first_turn(row: JsonRow) -> tuple[str, JsonRow] | Rejected:
    """The text of the first user turn, and its columns."""
    format, broken = format_of(row, AutoFormat()), None
    if format is not None:
        try:
            return format.question(row)
        except BrokenRowError as error:
            broken = Rejected("no_user_turn", str(error))
    for column in _PROMPTS:
        if isinstance(row.get(column), str) and row[column].strip():
            return row[column], {}
    known = ", ".join(name for name in ROW_FORMATS if name != "auto")
    wanted = f"has none of the columns {', '.join(_PROMPTS)}, nor those of a known format ({known})"
    return broken or Rejected("unknown_shape", wanted)


def _is_flagged(moderation: object) -> bool:
    turns = moderation if isinstance(moderation, list) else [moderation]
    return any(isinstance(turn, Mapping) and bool(turn.get("flagged")) for turn in turns)
