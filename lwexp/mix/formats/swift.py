"""``{"messages": [..., the chosen answer], "rejected_response": "..."}``: ms-swift.

The current ms-swift format has ``rejected_messages``, a whole conversation, in place of ``rejected_response``.
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow, read_messages, require_text
from lwexp.extend.registry import register
from lwexp.extend.rows import PairFormat, PairTurns


@register
class Swift(PairFormat):
    kind: Literal["swift"] = "swift"
    rank: ClassVar[int] = 10

    def detects(self, row: JsonRow) -> bool:
        rejected = (row.get("rejected_response"), row.get("rejected_messages"))
        return row.get("messages") is not None and any(column is not None for column in rejected)

    def turns(self, row: JsonRow) -> PairTurns:
        messages = read_messages(row, "messages")
        if not messages or messages[-1].role != "assistant":
            problem = "messages does not end with a message from the assistant, the chosen answer"
            raise BrokenRowError("bad_turns", problem)
        prompt, chosen = messages[:-1], messages[-1].content
        if row.get("rejected_messages") is None:
            return PairTurns(prompt, chosen, require_text(row, "rejected_response"))
        rejected = read_messages(row, "rejected_messages")
        if not rejected or rejected[-1].role != "assistant":
            raise BrokenRowError("bad_turns", "rejected_messages does not end with a message from the assistant")
        if rejected[:-1] and rejected[:-1] != prompt:
            raise BrokenRowError("different_prompts", "messages and rejected_messages answer different messages")
        return PairTurns(prompt, chosen, rejected[-1].content)
