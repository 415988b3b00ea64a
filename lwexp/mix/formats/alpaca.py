"""Alpaca: one question and answer in columns of their own.

``{"instruction": "...", "input": "..."?, "output": "...", "system": "..."?, "history": [[question, answer], ...]?}``
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow, json_type, require_text, with_system
from lwexp.extend.registry import register
from lwexp.extend.rows import RowFormat
from lwexp.records import Message


@register
class Alpaca(RowFormat):
    kind: Literal["alpaca"] = "alpaca"
    rank: ClassVar[int] = 22

    def detects(self, row: JsonRow) -> bool:
        return row.get("instruction") is not None or row.get("output") is not None

    def messages(self, row: JsonRow) -> list[Message]:
        turns = [
            *_earlier(row),
            Message(role="user", content=alpaca_question(row)),
            Message(role="assistant", content=require_text(row, "output")),
        ]
        return with_system(row, turns)

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        return alpaca_question(row), {}


def alpaca_question(row: JsonRow) -> str:
    """The instruction, with its input on a line of its own where there is one."""
    question = require_text(row, "instruction")
    return f"{question}\n{require_text(row, 'input')}" if row.get("input") else question


def _earlier(row: JsonRow) -> list[Message]:
    turns: list[Message] = []
    for index, pair in enumerate(row.get("history") or []):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BrokenRowError("wrong_type", f"history[{index}] is {json_type(pair)}, wanted [question, answer]")
        ask, answer = (require_text({"text": text}, "text", f"history[{index}].") for text in pair)
        turns += [Message(role="user", content=ask), Message(role="assistant", content=answer)]
    return turns
