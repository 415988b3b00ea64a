"""Readers of a raw row's columns. Their errors name the column that is missing or wrong."""

from collections.abc import Mapping
from typing import Any

from lwexp.records import Message, Role

JsonRow = Mapping[str, Any]

# Names of the three roles in various files.
_ROLES: dict[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    "developer": "system",
}  # fmt: skip


MAX_WORDS = 10_000_000
"""No text is longer, and a required length above it is a mistake."""

_TOOLS = ("tool", "function", "function_call", "observation", "ipython")


class BrokenRowError(Exception):
    """A row that cannot be used.

    Attributes:
        reason: A short stable word, for counting: missing_field, wrong_type, empty_field, unknown_role, bad_turns, ...
    """

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


def require_object(row: object) -> JsonRow:
    """A row as a mapping.

    Raises:
        BrokenRowError: If it is a list, a string or a number.
    """
    if not isinstance(row, Mapping):
        raise BrokenRowError("not_an_object", f"is {json_type(row)}, wanted an object with named columns")
    return row


def require_text(row: JsonRow, column: str, where: str = "") -> str:
    """A column that must contain non-blank text.

    Raises:
        BrokenRowError: Naming the column, with ``where`` before it (``messages[2].``).
    """
    value = row.get(column)
    if value is None:
        raise BrokenRowError("missing_field", f"{where}{column} is missing")
    if not isinstance(value, str):
        raise BrokenRowError("wrong_type", f"{where}{column} is {json_type(value)}, wanted text")
    if not value.strip():
        raise BrokenRowError("empty_field", f"{where}{column} is empty")
    return value


def require_list(row: JsonRow, column: str, of: str = "messages") -> list[Any]:
    """A column that must hold a list.

    Raises:
        BrokenRowError: Naming the column.
    """
    value = row.get(column)
    if value is None:
        raise BrokenRowError("missing_field", f"{column} is missing")
    if not isinstance(value, list):
        raise BrokenRowError("wrong_type", f"{column} is {json_type(value)}, wanted a list of {of}")
    return value


def read_length(row: JsonRow, column: str = "required_words") -> int | None:
    """A length in words; None unless the column holds a whole number above 0. Parquet of pandas has 300.0 for 300.

    Raises:
        BrokenRowError: If it exceeds ``MAX_WORDS``, which is longer than any text.
    """
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    if value > MAX_WORDS:
        got = str(value) if len(str(value)) <= 24 else f"a number of {len(str(value))} digits"
        raise BrokenRowError("wrong_type", f"{column} is {got}, wanted at most {MAX_WORDS:,}")
    return int(value) if value == int(value) else None


def read_message(item: object, where: str) -> Message:
    """One message, with either naming of role and text: role/content or from/value.

    Raises:
        BrokenRowError: Naming the column, with ``where`` before it.
    """
    if not isinstance(item, Mapping):
        raise BrokenRowError("wrong_type", f"{where} is {json_type(item)}, wanted a message")
    role_column, text_column = ("from", "value") if "from" in item else ("role", "content")
    name = require_text(item, role_column, f"{where}.")
    if name in _TOOLS or item.get("tool_calls"):
        raise BrokenRowError("tool_row", f"{where} calls a tool or is its reply, which no chat format can write")
    role = _ROLES.get(name)
    if role is None:
        raise BrokenRowError("unknown_role", f"{where}.{role_column} is {name!r}, wanted one of {', '.join(_ROLES)}")
    content = require_text(_joined_parts(item, text_column), text_column, f"{where}.")
    return Message(role=role, content=content, weight=0 if role == "assistant" and _is_untrained(item) else None)


def _is_untrained(item: JsonRow) -> bool:
    """Whether the file says that an answer is context only: ``weight: 0`` (OpenAI), ``loss: false`` (ms-swift)."""
    weight = item.get("weight")
    return item.get("loss") is False or (weight == 0 and not isinstance(weight, bool))


def _joined_parts(item: JsonRow, column: str) -> JsonRow:
    """The message with its list of text parts as one text; other parts, such as images, stay a list."""
    parts = item.get(column)
    if not isinstance(parts, list) or not parts:
        return item
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type", "text") == "text"]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        return item
    return {**item, column: "\n".join(str(text) for text in texts)}


def read_messages(row: JsonRow, column: str) -> list[Message]:
    """A column that must hold a list of messages.

    Raises:
        BrokenRowError: Naming the column, and the message in it.
    """
    items = enumerate(require_list(row, column))
    return [read_message(item, f"{column}[{index}]") for index, item in items if not _is_empty_system(item)]


def _is_empty_system(item: object) -> bool:
    """Whether this is a system message without text, which many tools write into every row; it is ignored."""
    if not isinstance(item, Mapping) or "system" not in (item.get("role"), item.get("from")):
        return False
    return item.get("content", item.get("value")) in ("", None)


def first_user_turn(row: JsonRow, column: str) -> tuple[str, JsonRow]:
    """Text and columns of the first message after system messages; later messages may be broken.

    Raises:
        BrokenRowError: If it is not from the user, or cannot be read.
    """
    for index, item in enumerate(require_list(row, column)):
        if isinstance(item, Mapping) and _ROLES.get(str(item.get("role", item.get("from")))) == "system":
            continue
        message = read_message(item, f"{column}[{index}]")
        if message.role != "user":
            raise BrokenRowError("bad_turns", f"{column} starts with {message.role!r}, wanted a user's text")
        return message.content, item
    raise BrokenRowError("bad_turns", f"{column} has no message")


def read_answer(row: JsonRow, column: str) -> str:
    """An answer given as text, or as one message from the assistant.

    Raises:
        BrokenRowError: Naming the column.
    """
    if not isinstance(row.get(column), Mapping):
        return require_text(row, column)
    message = read_message(row[column], column)
    if message.role != "assistant":
        raise BrokenRowError("bad_turns", f"{column} is from {message.role}, wanted the assistant")
    return message.content


def with_system(row: JsonRow, messages: list[Message]) -> list[Message]:
    """Put the text of a ``system`` column first, if there is one."""
    if not row.get("system"):
        return messages
    return [Message(role="system", content=require_text(row, "system")), *messages]


def earlier_turns(row: JsonRow) -> list[Message]:
    """The questions and answers in a ``history`` column, where there is one."""
    turns: list[Message] = []
    history = row.get("history") or []
    if not isinstance(history, list):
        raise BrokenRowError("wrong_type", f"history is {json_type(history)}, wanted a list of [question, answer]")
    for index, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BrokenRowError("wrong_type", f"history[{index}] is {json_type(pair)}, wanted [question, answer]")
        ask, answer = (require_text({"text": text}, "text", f"history[{index}].") for text in pair)
        turns += [Message(role="user", content=ask), Message(role="assistant", content=answer)]
    return turns


def json_type(value: object) -> str:
    """What a value is, in words for an error message."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
