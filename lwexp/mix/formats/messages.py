"""``{"messages": [{"role": "user", "content": "..."}, ...]}``: OpenAI, TRL, lwexp itself."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, first_user_turn, read_messages
from lwexp.extend.registry import register
from lwexp.extend.rows import RowFormat
from lwexp.records import Message


@register
class Messages(RowFormat):
    kind: Literal["messages"] = "messages"
    rank: ClassVar[int] = 20

    def detects(self, row: JsonRow) -> bool:
        return row.get("messages") is not None

    def messages(self, row: JsonRow) -> list[Message]:
        return read_messages(row, "messages")

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        return first_user_turn(row, "messages")
