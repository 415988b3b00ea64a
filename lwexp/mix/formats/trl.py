"""``{"prompt": text or messages, "chosen": text or messages, "rejected": text or messages}``: TRL.

TRL's implicit form is read too: its ``chosen`` and ``rejected`` are whole conversations, and the messages that both
start with are the prompt (``prompt`` may be missing, or repeat the question).
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow, read_answer, read_messages, require_text
from lwexp.extend.registry import register
from lwexp.extend.rows import PairFormat, PairTurns
from lwexp.records import Message


@register
class TRL(PairFormat):
    kind: Literal["trl"] = "trl"
    rank: ClassVar[int] = 13

    def detects(self, row: JsonRow) -> bool:
        return row.get("chosen") is not None and row.get("rejected") is not None

    def turns(self, row: JsonRow) -> PairTurns:
        chosen_before, chosen = _split(row, "chosen")
        rejected_before, rejected = _split(row, "rejected")
        if chosen_before != rejected_before:
            raise BrokenRowError("different_prompts", "chosen and rejected answer different messages")
        if isinstance(row.get("prompt"), list):
            return PairTurns([*read_messages(row, "prompt"), *chosen_before], chosen, rejected)
        prompt = chosen_before or [Message(role="user", content=require_text(row, "prompt"))]
        return PairTurns(prompt, chosen, rejected)


def _split(row: JsonRow, column: str) -> tuple[list[Message], str]:
    """The messages before an answer (none in TRL's explicit form), and the answer."""
    if not isinstance(row.get(column), list):
        return [], read_answer(row, column)
    messages = read_messages(row, column)
    if not messages or messages[-1].role != "assistant":
        raise BrokenRowError("bad_turns", f"{column} does not end with a message from the assistant")
    return messages[:-1], messages[-1].content
