"""``{"messages": [..., the chosen answer], "rejected_response": "..."}``: ms-swift."""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow, read_messages, require_text
from lwexp.extend.registry import register
from lwexp.extend.rows import PairFormat, PairTurns


@register
class Swift(PairFormat):
    kind: Literal["swift"] = "swift"
    rank: ClassVar[int] = 10

    def detects(self, row: JsonRow) -> bool:
        return row.get("messages") is not None and row.get("rejected_response") is not None

    def turns(self, row: JsonRow) -> PairTurns:
        messages = read_messages(row, "messages")
        if not messages or messages[-1].role != "assistant":
            problem = "messages does not end with a message from the assistant, the chosen answer"
            raise BrokenRowError("bad_turns", problem)
        return PairTurns(messages[:-1], messages[-1].content, require_text(row, "rejected_response"))
