"""Rows with messages: ms-swift 3 and 4 (``response`` beside ``messages``), and chats that end with the answer.

Source: ms-swift 4.6.0, pipelines/infer/infer.py, which also appends the response to the messages.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import last_of, reasoning_of, with_columns

_USER = ("user", "human")


@register
class Chat(AnswerFormat):
    kind: Literal["chat"] = "chat"
    rank: ClassVar[int] = 16
    tool: ClassVar[str] = "ms-swift 3 or 4, or a chat"

    def detects(self, row: JsonRow) -> bool:
        return isinstance(row.get("messages", row.get("conversations")), list)

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """The response, or the last assistant turn; a response of null is a missing answer."""
        turns: list[Any] = row["messages"] if "messages" in row else row["conversations"]
        asked = [turn for turn in turns if last_of([turn], *_USER) is not None]
        if len(asked) > 1:
            raise BrokenRowError("wrong_type", f"{len(asked)} turns of the user; wanted one prompt and one answer")
        said = last_of(turns[-1:], "assistant", "gpt")
        text = row.get("response", said)
        is_null = text is None and "response" in row
        if not isinstance(text, str) and not is_null:
            raise BrokenRowError("missing_field", "response is missing, and the messages do not end with an answer")
        if said is not None and said != (text or ""):
            raise BrokenRowError("wrong_type", "response is not the last turn of messages; keep the one that is right")
        answer = with_columns(row, text, last_of(turns, *_USER))
        thoughts = reasoning_of(turns[-1]) if said is not None and isinstance(turns[-1], Mapping) else ""
        return [answer._replace(reasoning=answer.reasoning or thoughts)]
