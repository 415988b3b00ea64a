"""``{"query": "...", "response": "...", "history": [[query, response], ...]?, "system": "..."?}``: ms-swift."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, earlier_turns, require_text, with_system
from lwexp.extend.registry import register
from lwexp.extend.rows import RowFormat
from lwexp.records import Message


@register
class SwiftQuery(RowFormat):
    kind: Literal["swift_query"] = "swift_query"
    rank: ClassVar[int] = 25

    def detects(self, row: JsonRow) -> bool:
        return row.get("query") is not None and row.get("response") is not None

    def messages(self, row: JsonRow) -> list[Message]:
        turns = [
            *earlier_turns(row),
            Message(role="user", content=require_text(row, "query")),
            Message(role="assistant", content=require_text(row, "response")),
        ]
        return with_system(row, turns)
