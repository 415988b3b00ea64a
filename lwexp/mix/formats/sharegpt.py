"""``{"conversations": [{"from": "human", "value": "..."}, ...], "system": "..."?}``: ShareGPT, LLaMA-Factory."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, first_user_turn, read_messages, with_system
from lwexp.extend.registry import register
from lwexp.extend.rows import RowFormat
from lwexp.records import Message


@register
class ShareGPT(RowFormat):
    kind: Literal["sharegpt"] = "sharegpt"
    rank: ClassVar[int] = 21

    def detects(self, row: JsonRow) -> bool:
        return row.get("conversations") is not None

    def messages(self, row: JsonRow) -> list[Message]:
        return with_system(row, read_messages(row, "conversations"))

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        return first_user_turn(row, "conversations")
