"""Alpaca: a question and its answer in separate columns.

``{"instruction": "...", "input": "..."?, "output": "...", "system": "..."?, "history": [[question, answer], ...]?}``
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, earlier_turns, require_text, with_system
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
            *earlier_turns(row),
            Message(role="user", content=alpaca_question(row)),
            Message(role="assistant", content=require_text(row, "output")),
        ]
        return with_system(row, turns)

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        return alpaca_question(row), {}


def alpaca_question(row: JsonRow) -> str:
    """The instruction, followed by its input on a new line if there is one."""
    question = require_text(row, "instruction")
    return f"{question}\n{require_text(row, 'input')}" if row.get("input") else question
