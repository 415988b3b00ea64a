"""Rows of questions and answers in turn: {"turns": ["question", "answer", "question", "answer"]}."""

from typing import Literal

from lwexp.extend import RowFormat, register
from lwexp.extend.columns import JsonRow, require_list, require_text
from lwexp.records import Message


@register
class Turns(RowFormat):
    kind: Literal["turns"] = "turns"
    column: str = "turns"

    def detects(self, row: JsonRow) -> bool:
        return isinstance(row.get(self.column), list)

    def messages(self, row: JsonRow) -> list[Message]:
        texts = require_list(row, self.column, of="texts")
        return [
            Message(
                role="assistant" if index % 2 else "user",
                content=require_text({"text": text}, "text", f"{self.column}[{index}]."),
            )
            for index, text in enumerate(texts)
        ]
