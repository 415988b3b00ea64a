"""Turns a raw row, read with its format, into a conversation or a preference pair. Pure functions.

Columns that no format names are ignored, except in rows that lwexp wrote (``_provenance``). A row whose turns do not
alternate is reported; LLaMA-Factory drops it silently.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from lwexp.extend.columns import BrokenRowError, JsonRow, read_length, require_object
from lwexp.extend.rows import PairFormat, RowFormat
from lwexp.records import Conversation, Language, Message, PreferencePair, Row, first_problem, prompt_sha, turn_problem
from lwexp.text.encodable import encodable_json
from lwexp.text.reasoning import UNFINISHED, split_reasoning, with_reasoning
from lwexp.text.words import count_words, language_of

R = TypeVar("R", bound=Row)

_BESIDE = ("reasoning_content", "reasoning")
"""Fields of a message that servers put reasoning into."""


def to_conversation(row: object, format: RowFormat, *, id: str, source: str) -> Conversation:
    """Turn one row into a conversation.

    ``actual_words`` counts the longest answer that is trained on, because the longest output in the data caps the
    length of a model's outputs.
    ``language`` is that of the user's messages, because answers in code count as English.

    Raises:
        BrokenRowError: If a column is missing or wrong; the message names it.
    """
    columns = require_object(row)
    _refuse_judged_answer(columns)
    messages, reasoning = _without_reasoning(format.messages(columns), columns)
    _check_turns(messages, last="assistant")
    made = {
        "id": id,
        "source": source,
        "language": _language_of(messages),
        "messages": tuple(messages),
        "required_words": read_length(columns),
        "actual_words": max(count_words(answer) for answer in _trained_answers(messages)),
        "prompt_sha": prompt_sha(messages[:-1]),
        "reasoning": reasoning if any(reasoning) else None,
    }
    names = ("teacher", "cost_usd", "finish_reasons", "plan")
    return _build(Conversation, made | _provenance(columns, messages[:-1], names))


def to_pair(row: object, format: PairFormat, *, id: str, source: str) -> PreferencePair:
    """Turn one row into a preference pair. Scores and the required length are kept where a row has them.

    Raises:
        BrokenRowError: If a column is missing or wrong (the message names it), or both answers are the same text.
    """
    columns = require_object(row)
    prompt, chosen, rejected = format.turns(columns)
    prompt, _ = _without_reasoning(prompt, columns)
    _check_turns(prompt, last="user")
    beside = dict(_reasoning_beside(columns))
    chosen, chosen_reasoning = _answer(chosen, "chosen", beside)
    rejected, rejected_reasoning = _answer(rejected, "rejected", beside)
    if chosen == rejected:
        raise BrokenRowError("equal_answers", "chosen and rejected are the same text")
    made = {
        "id": id,
        "source": source,
        "language": _language_of(prompt),
        "prompt": tuple(prompt),
        "chosen": chosen,
        "rejected": rejected,
        "chosen_score": _score(columns, "chosen_score"),
        "rejected_score": _score(columns, "rejected_score"),
        "chosen_words": count_words(chosen),
        "rejected_words": count_words(rejected),
        "required_words": read_length(columns),
        "chosen_reasoning": chosen_reasoning or None,
        "rejected_reasoning": rejected_reasoning or None,
    }
    return _build(PreferencePair, made | _provenance(columns, prompt, ("chosen_score", "rejected_score")))


def _refuse_judged_answer(row: JsonRow) -> None:
    """Refuse rows for KTO: they look like conversations, but some of their answers are bad."""
    name = next((name for name in ("label", "kto_tag") if isinstance(row.get(name), bool)), None)
    if name is not None:
        problem = f"{name} is true or false: rows for KTO hold bad answers too and are no conversations for SFT"
        raise BrokenRowError("kto_row", problem)


def _trained_answers(messages: Sequence[Message]) -> list[str]:
    answers = [message.content for message in messages if message.role == "assistant" and message.weight is None]
    if not answers:
        raise BrokenRowError("untrained_answer", "every answer has weight 0, so the row has nothing to train on")
    return answers


def _without_reasoning(messages: Sequence[Message], row: JsonRow) -> tuple[list[Message], tuple[str, ...]]:
    """The messages without reasoning, and the reasoning before each answer."""
    beside = dict(_reasoning_beside(row))
    plain: list[Message] = []
    reasoning: list[str] = []
    for index, message in enumerate(messages):
        if message.role == "assistant":
            content, thought = _answer(message.content, f"message {index}", beside)
            reasoning.append(thought)
            message = message.model_copy(update={"content": content})
        plain.append(message)
    if plain and plain[-1].role == "assistant" and isinstance(row.get("reasoning_content"), str):
        reasoning[-1] = reasoning[-1] or row["reasoning_content"].strip()
    return plain, tuple(reasoning)


def _answer(text: str, where: str, beside: Mapping[str, str]) -> tuple[str, str]:
    """An answer and its reasoning, which is in the text itself or in the field beside it."""
    split = split_reasoning(text)
    if not split.is_finished:
        raise BrokenRowError(UNFINISHED, f"{where} ends within its reasoning, before the answer")
    if not split.answer.strip():
        raise BrokenRowError("empty_field", f"{where} holds reasoning and no answer")
    return split.answer, with_reasoning(beside.get(text, ""), split)


def _reasoning_beside(value: object) -> Iterator[tuple[str, str]]:
    """Text and reasoning of every message in a row that keeps its reasoning in a separate field."""
    if isinstance(value, Mapping):
        text = value.get("content", value.get("value"))
        thought = next((value[name] for name in _BESIDE if isinstance(value.get(name), str)), None)
        if isinstance(text, str) and thought:
            yield text, thought
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in items:
        if isinstance(item, Mapping | list):
            yield from _reasoning_beside(item)


def _provenance(row: JsonRow, prompt: Sequence[Message], names: Sequence[str]) -> dict[str, Any]:
    """The columns that say where a row came from, if lwexp wrote the row, in whichever tool's format.

    Other tools use columns such as ``id`` and ``source`` for other things. So they are used only with a ``prompt_sha``
    that matches the row's prompt. Exported files hold them in one column, ``provenance``, as JSON.
    """
    columns: Any = row
    if isinstance(row.get("provenance"), str):
        try:
            columns = encodable_json(json.loads(row["provenance"])).value
        except (ValueError, RecursionError):
            return {}
    if not isinstance(columns, Mapping) or columns.get("prompt_sha") != prompt_sha(prompt):
        return {}
    wanted = ("id", "source", "language", *names)
    found = {name: columns[name] for name in wanted if columns.get(name) is not None}
    found |= {
        name: _score(columns, name)
        for name in ("chosen_score", "rejected_score", "cost_usd")
        if type(found.get(name)) in (int, float)
    }
    return found | ({"required_words": words} if (words := read_length(columns)) else {})


def _build(row_type: type[R], values: Mapping[str, Any]) -> R:
    try:
        return row_type(**values)
    except ValidationError as error:
        raise BrokenRowError("wrong_type", first_problem(error)) from None


def _language_of(messages: list[Message]) -> Language:
    return language_of("\n".join(message.content for message in messages if message.role == "user"))


def _check_turns(messages: list[Message], *, last: Literal["user", "assistant"]) -> None:
    if problem := turn_problem(messages, last=last):
        raise BrokenRowError("bad_turns", problem)


def _score(row: JsonRow, column: str) -> float | None:
    value = row.get(column)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if not abs(value) <= sys.float_info.max:  # an int may be longer than any float
        raise BrokenRowError("wrong_type", f"{column} is not a finite number of 64 bits")
    return float(value)
