"""Preference rows in the shapes the ecosystem uses become preference pairs. Pure, like ``shapes``.

    trl        {"prompt": text or messages, "chosen": text or messages, "rejected": text or messages}
    ranking    {"conversations": [...], "chosen": {"from": "gpt", "value": "..."}, "rejected": {...}, "system": "..."?}
    swift      {"messages": [..., the chosen answer], "rejected_response": "..."}            ms-swift
    alpaca     {"instruction": "...", "input": "..."?, "chosen": "...", "rejected": "..."}   LLaMA-Factory

TRL's implicit form is read too: there ``chosen`` and ``rejected`` are whole conversations that start alike, and
what they share is the prompt (``prompt`` may be missing, or repeat the question).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from lwexp.mix.shapes import (
    BrokenRowError,
    JsonRow,
    alpaca_question,
    asked_in,
    build,
    check_turns,
    provenance,
    read_message,
    read_messages,
    require_object,
    require_text,
    with_system,
)
from lwexp.records import Message, PreferencePair
from lwexp.text.words import count_words

PairShape = Literal["trl", "ranking", "swift", "alpaca"]


def detect_pair_shape(row: object) -> PairShape | None:
    """The shape that a row's columns tell, or None: it is no preference pair."""
    if not isinstance(row, Mapping):
        return None
    if row.get("messages") is not None and row.get("rejected_response") is not None:
        return "swift"
    if row.get("chosen") is None or row.get("rejected") is None:
        return None
    if row.get("conversations") is not None:
        return "ranking"
    return "alpaca" if row.get("instruction") is not None and row.get("prompt") is None else "trl"


def to_pair(row: object, shape: PairShape, *, id: str, source: str) -> PreferencePair:
    """Turn one row into a preference pair.

    Scores, and the required length, are kept where a row has them (pairs that lwexp wrote do).

    Raises:
        BrokenRowError: Naming the column that is missing or wrong, or if both answers are the same text, from
            which there is nothing to learn.
    """
    columns = require_object(row)
    prompt, chosen, rejected = _READERS[shape](columns)
    check_turns(prompt, last="user")
    if chosen == rejected:
        raise BrokenRowError("equal_answers", "chosen and rejected are the same text")
    required = columns.get("required_words")
    made = {
        "id": id,
        "source": source,
        "language": asked_in(prompt),
        "prompt": tuple(prompt),
        "chosen": chosen,
        "rejected": rejected,
        "chosen_score": _score(columns.get("chosen_score")),
        "rejected_score": _score(columns.get("rejected_score")),
        "chosen_words": count_words(chosen),
        "rejected_words": count_words(rejected),
        "required_words": required if isinstance(required, int) and required > 0 else None,
    }
    return build(PreferencePair, made | provenance(columns, prompt, _PROVENANCE))


_PROVENANCE = ("id", "source", "language", "required_words", "chosen_score", "rejected_score")


def _from_ranking(row: JsonRow) -> tuple[list[Message], str, str]:
    prompt = with_system(row, read_messages(row, "conversations"))
    return prompt, _answer(row, "chosen"), _answer(row, "rejected")


def _from_swift(row: JsonRow) -> tuple[list[Message], str, str]:
    *prompt, chosen = read_messages(row, "messages") or [Message(role="user", content="")]
    if chosen.role != "assistant":
        raise BrokenRowError("bad_turns", "messages does not end with a message from the assistant, the chosen answer")
    return prompt, chosen.content, require_text(row, "rejected_response")


def _from_alpaca(row: JsonRow) -> tuple[list[Message], str, str]:
    prompt = with_system(row, [Message(role="user", content=alpaca_question(row))])
    return prompt, _answer(row, "chosen"), _answer(row, "rejected")


def _from_trl(row: JsonRow) -> tuple[list[Message], str, str]:
    chosen_before, chosen = _split(row, "chosen")
    rejected_before, rejected = _split(row, "rejected")
    if chosen_before != rejected_before:
        raise BrokenRowError("different_prompts", "chosen and rejected answer different messages")
    if isinstance(row.get("prompt"), list):
        return [*read_messages(row, "prompt"), *chosen_before], chosen, rejected
    if chosen_before:
        return chosen_before, chosen, rejected
    return [Message(role="user", content=require_text(row, "prompt"))], chosen, rejected


def _split(row: JsonRow, column: str) -> tuple[list[Message], str]:
    """The messages before an answer (none in TRL's explicit form), and the answer."""
    if not isinstance(row.get(column), list):
        return [], _answer(row, column)
    messages = read_messages(row, column)
    if not messages or messages[-1].role != "assistant":
        raise BrokenRowError("bad_turns", f"{column} does not end with a message from the assistant")
    return messages[:-1], messages[-1].content


def _answer(row: JsonRow, column: str) -> str:
    """An answer given as text, or as one message from the assistant."""
    if not isinstance(row.get(column), Mapping):
        return require_text(row, column)
    message = read_message(row[column], column)
    if message.role != "assistant":
        raise BrokenRowError("bad_turns", f"{column} is from {message.role}, wanted the assistant")
    return message.content


def _score(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_READERS: dict[PairShape, Callable[[JsonRow], tuple[list[Message], str, str]]] = {
    "trl": _from_trl, "ranking": _from_ranking, "swift": _from_swift, "alpaca": _from_alpaca,
}  # fmt: skip
