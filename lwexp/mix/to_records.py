"""A raw row, read with its format, becomes a conversation or a preference pair. Pure.

Columns that no format names are passed over, except in rows that lwexp wrote (``_provenance``). Unlike in LLaMA-Factory
a row whose turns do not alternate is reported, not dropped in silence.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from lwexp.extend.columns import BrokenRowError, JsonRow, require_object
from lwexp.extend.rows import PairFormat, RowFormat
from lwexp.records import Conversation, Language, Message, PreferencePair, Role, Row, first_problem, prompt_sha
from lwexp.text.words import count_words, language_of

R = TypeVar("R", bound=Row)


def to_conversation(row: object, format: RowFormat, *, id: str, source: str) -> Conversation:
    """Turn one row into a conversation.

    ``actual_words`` is that of the longest answer: it is the longest output in the data that caps a model's own.
    ``language`` is that of the user's side, because answers in code count as English.

    Raises:
        BrokenRowError: Naming the column that is missing or wrong.
    """
    columns = require_object(row)
    messages = format.messages(columns)
    _check_turns(messages, last="assistant")
    made = {
        "id": id,
        "source": source,
        "language": _asked_in(messages),
        "messages": tuple(messages),
        "required_words": _required_words(columns),
        "actual_words": max(count_words(message.content) for message in messages if message.role == "assistant"),
        "prompt_sha": prompt_sha(messages[:-1]),
    }
    names = ("teacher", "cost_usd", "finish_reasons", "plan")
    return _build(Conversation, made | _provenance(columns, messages[:-1], names))


def to_pair(row: object, format: PairFormat, *, id: str, source: str) -> PreferencePair:
    """Turn one row into a preference pair.

    Scores, and the required length, are kept where a row has them (pairs that lwexp wrote do).

    Raises:
        BrokenRowError: Naming the column that is missing or wrong, or if both answers are the same text, from
            which there is nothing to learn.
    """
    columns = require_object(row)
    prompt, chosen, rejected = format.turns(columns)
    _check_turns(prompt, last="user")
    if chosen == rejected:
        raise BrokenRowError("equal_answers", "chosen and rejected are the same text")
    made = {
        "id": id,
        "source": source,
        "language": _asked_in(prompt),
        "prompt": tuple(prompt),
        "chosen": chosen,
        "rejected": rejected,
        "chosen_score": _score(columns.get("chosen_score")),
        "rejected_score": _score(columns.get("rejected_score")),
        "chosen_words": count_words(chosen),
        "rejected_words": count_words(rejected),
        "required_words": _required_words(columns),
    }
    return _build(PreferencePair, made | _provenance(columns, prompt, ("chosen_score", "rejected_score")))


def _provenance(row: JsonRow, prompt: Sequence[Message], names: Sequence[str]) -> dict[str, Any]:
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
    wanted = ("id", "source", "language", "required_words", *names)
    return {name: columns[name] for name in wanted if columns.get(name) is not None}


def _build(row_type: type[R], values: Mapping[str, Any]) -> R:
    try:
        return row_type(**values)
    except ValidationError as error:
        raise BrokenRowError("wrong_type", first_problem(error)) from None


def _asked_in(messages: list[Message]) -> Language:
    """Language of what the user says."""
    return language_of("\n".join(message.content for message in messages if message.role == "user"))


def _check_turns(messages: list[Message], *, last: Role) -> None:
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


def _required_words(row: JsonRow) -> int | None:
    words = row.get("required_words")
    return words if isinstance(words, int) and words > 0 else None


def _score(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
