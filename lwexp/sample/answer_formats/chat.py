"""Rows with messages: ms-swift 3 and 4 (``response`` beside ``messages``), and chats that end with the answer.

Source: ms-swift 4.6.0, pipelines/infer/infer.py, which also appends the response to the messages.
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import last_of, named


@register
class Chat(AnswerFormat):
    kind: Literal["chat"] = "chat"
    rank: ClassVar[int] = 16
    tool: ClassVar[str] = "ms-swift 3 or 4, or a chat"

    def detects(self, row: JsonRow) -> bool:
        return isinstance(row.get("messages", row.get("conversations")), list)

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """The response, or the last assistant turn."""
        turns = row.get("messages", row.get("conversations"))
        said = last_of(turns[-1:], "assistant", "gpt")
        text = row.get("response", said)
        if not isinstance(text, str):
            raise BrokenRowError("missing_field", "response is missing, and the messages do not end with an answer")
        if said is not None and said != text:
            raise BrokenRowError("wrong_type", "response is not the last turn of messages; keep the one that is right")
        bench = str(row["bench"]) if row.get("bench") else None
        return [GivenAnswer(text, last_of(turns, "user", "human"), named(row, "prompt_id", "id"), bench)]
