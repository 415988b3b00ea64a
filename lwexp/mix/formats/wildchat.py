"""``{"conversation": [{"role": "user", "content": "...", "toxic": ...}, ...], ...}``: WildChat."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, first_user_turn, read_messages
from lwexp.extend.registry import register
from lwexp.extend.rows import RowFormat
from lwexp.records import Message


@register
class WildChat(RowFormat):
    kind: Literal["wildchat"] = "wildchat"
    rank: ClassVar[int] = 23

    def detects(self, row: JsonRow) -> bool:
        return row.get("conversation") is not None

    def messages(self, row: JsonRow) -> list[Message]:
        return read_messages(row, "conversation")

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        return first_user_turn(row, "conversation")
