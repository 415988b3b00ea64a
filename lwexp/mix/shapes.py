"""Rows in the shapes the ecosystem uses become conversations. Pure: a parsed JSON row in, a row out.

    messages   {"messages": [{"role": "user", "content": "..."}, ...]}
    sharegpt   {"conversations": [{"from": "human", "value": "..."}, ...], "system": "..."?}
    alpaca     {"instruction": "...", "input": "..."?, "output": "...", "system": "..."?,
                "history": [[question, answer], ...]?}

Columns that are not named here are passed over, except in rows that lwexp wrote (``provenance``).

Source: TRL docs/source/dataset_formats.md and LLaMA-Factory data/README.md; unlike the latter, a row whose
turns do not alternate is reported, not dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from lwexp.records import Conversation, Message, Role, Row, first_problem, prompt_sha
from lwexp.text.words import count_words, language_of

Shape = Literal["messages", "sharegpt", "alpaca"]
JsonRow = Mapping[str, Any]
R = TypeVar("R", bound=Row)

# What one file or another calls the three roles.
_ROLES: dict[str, Role] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
}  # fmt: skip


class BrokenRowError(Exception):
    """A row that cannot be used.

    Attributes:
        reason: A short stable word, for counting.
    """

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


def detect_shape(row: object) -> Shape | None:
    """The shape that a row's columns tell, or None."""
    if not isinstance(row, Mapping):
        return None
    for column, shape in _TELLING_COLUMNS.items():
        if row.get(column) is not None:
            return shape
    return None


_TELLING_COLUMNS: dict[str, Shape] = {
    "messages": "messages", "conversations": "sharegpt", "instruction": "alpaca", "output": "alpaca",
}  # fmt: skip


def to_conversation(row: object, shape: Shape, *, id: str, source: str) -> Conversation:
    """Turn one row into a conversation.

    ``actual_words`` is that of the longest answer: it is the longest output in the data that caps a model's own.
    ``language`` is that of the user's side, because answers in code count as English.

    Raises:
        BrokenRowError: Naming the column that is missing or wrong.
    """
    columns = require_object(row)
    messages = _READERS[shape](columns)
    check_turns(messages, last="assistant")
    required = columns.get("required_words")
    made = {
        "id": id,
        "source": source,
        "language": asked_in(messages),
        "messages": tuple(messages),
        "required_words": required if isinstance(required, int) and required > 0 else None,
        "actual_words": max(count_words(message.content) for message in messages if message.role == "assistant"),
        "prompt_sha": prompt_sha(messages[:-1]),
    }
    return build(Conversation, made | provenance(columns, messages[:-1], _PROVENANCE))


_PROVENANCE = ("id", "source", "language", "required_words", "teacher", "cost_usd", "finish_reasons", "plan")


def provenance(row: JsonRow, prompt: Sequence[Message], names: Sequence[str]) -> dict[str, Any]:
    """Where a row came from, for a row that lwexp wrote, in whichever tool's shape.

    Other tools' files have columns such as ``id`` and ``source`` too, and mean other things by them. So these
    columns count only where ``prompt_sha`` stands beside them and fits the row's own prompt. Exported files hold
    them in one column, ``provenance``, as JSON text.
    """
    columns: Any = row
    if isinstance(row.get("provenance"), str):
        try:
            columns = json.loads(row["provenance"])
        except ValueError:
            return {}
    if not isinstance(columns, Mapping) or columns.get("prompt_sha") != prompt_sha(prompt):
        return {}
    return {name: columns[name] for name in names if columns.get(name) is not None}


def build(row_type: type[R], values: Mapping[str, Any]) -> R:
    """A row of ours.

    Raises:
        BrokenRowError: Naming the column, if provenance does not fit.
    """
    try:
        return row_type(**values)
    except ValidationError as error:
        raise BrokenRowError("wrong_type", first_problem(error)) from None


def asked_in(messages: list[Message]) -> Literal["en", "zh"]:
    """Language of what the user says."""
    return language_of("\n".join(message.content for message in messages if message.role == "user"))


def require_object(row: object) -> JsonRow:
    """A row as a mapping.

    Raises:
        BrokenRowError: If it is a list, a string or a number.
    """
    if not isinstance(row, Mapping):
        raise BrokenRowError("not_an_object", f"is {_kind(row)}, wanted an object with named columns")
    return row


def require_text(row: JsonRow, column: str, where: str = "") -> str:
    """A column that must hold text which is not blank.

    Raises:
        BrokenRowError: Naming the column, with ``where`` before it (``messages[2].``).
    """
    value = row.get(column)
    if value is None:
        raise BrokenRowError("missing_field", f"{where}{column} is missing")
    if not isinstance(value, str):
        raise BrokenRowError("wrong_type", f"{where}{column} is {_kind(value)}, wanted text")
    if not value.strip():
        raise BrokenRowError("empty_field", f"{where}{column} is empty")
    return value


def read_message(item: object, where: str) -> Message:
    """One message, with its role and text named either way: role/content or from/value.

    Raises:
        BrokenRowError: Naming the column, with ``where`` before it.
    """
    if not isinstance(item, Mapping):
        raise BrokenRowError("wrong_type", f"{where} is {_kind(item)}, wanted a message")
    role_column, text_column = ("from", "value") if "from" in item else ("role", "content")
    name = require_text(item, role_column, f"{where}.")
    role = _ROLES.get(name)
    if role is None:
        raise BrokenRowError("unknown_role", f"{where}.{role_column} is {name!r}, wanted one of {', '.join(_ROLES)}")
    return Message(role=role, content=require_text(item, text_column, f"{where}."))


def read_messages(row: JsonRow, column: str) -> list[Message]:
    """A column that must hold a list of messages.

    Raises:
        BrokenRowError: Naming the column, and the message in it.
    """
    value = row.get(column)
    if value is None:
        raise BrokenRowError("missing_field", f"{column} is missing")
    if not isinstance(value, list):
        raise BrokenRowError("wrong_type", f"{column} is {_kind(value)}, wanted a list of messages")
    return [read_message(item, f"{column}[{index}]") for index, item in enumerate(value)]


def with_system(row: JsonRow, messages: list[Message]) -> list[Message]:
    """Put the text of a ``system`` column in front, where there is any."""
    if not row.get("system"):
        return messages
    return [Message(role="system", content=require_text(row, "system")), *messages]


def check_turns(messages: list[Message], *, last: Role) -> None:
    """Messages must be: system where there is one, then user and assistant in turn, up to ``last``.

    Raises:
        BrokenRowError: Naming the first message that is out of turn.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(turns):
        wanted = ("user", "assistant")[index % 2]
        if message.role != wanted:
            number = index + len(messages) - len(turns)
            raise BrokenRowError("bad_turns", f"message {number} is from {message.role}, wanted {wanted}")
    if not turns or turns[-1].role != last:
        ending = f"ends with {turns[-1].role}" if turns else "holds no turn"
        raise BrokenRowError("bad_turns", f"{ending}, wanted {last} at the end")


def alpaca_question(row: JsonRow) -> str:
    """The instruction, with its input on a line of its own where there is one."""
    question = require_text(row, "instruction")
    return f"{question}\n{require_text(row, 'input')}" if row.get("input") else question


def _from_messages(row: JsonRow) -> list[Message]:
    return read_messages(row, "messages")


def _from_sharegpt(row: JsonRow) -> list[Message]:
    return with_system(row, read_messages(row, "conversations"))


def _from_alpaca(row: JsonRow) -> list[Message]:
    earlier: list[Message] = []
    for index, pair in enumerate(row.get("history") or []):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BrokenRowError("wrong_type", f"history[{index}] is {_kind(pair)}, wanted [question, answer]")
        ask, answer = ({"text": text} for text in pair)
        earlier.append(Message(role="user", content=require_text(ask, "text", f"history[{index}].")))
        earlier.append(Message(role="assistant", content=require_text(answer, "text", f"history[{index}].")))
    return with_system(
        row,
        [
            *earlier,
            Message(role="user", content=alpaca_question(row)),
            Message(role="assistant", content=require_text(row, "output")),
        ],
    )


_READERS: dict[Shape, Callable[[JsonRow], list[Message]]] = {
    "messages": _from_messages,
    "sharegpt": _from_sharegpt,
    "alpaca": _from_alpaca,
}


def _kind(value: object) -> str:
    """What a value is, in JSON's words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}")
