"""``{"prompt": text or messages, "completion": text or messages}``: TRL. Other tools call the answer ``response``."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, read_answer, read_messages, require_text, with_system
from lwexp.extend.registry import register
from lwexp.extend.rows import RowFormat
from lwexp.records import Message


@register
class PromptCompletion(RowFormat):
    kind: Literal["prompt_completion"] = "prompt_completion"
    rank: ClassVar[int] = 24

    def detects(self, row: JsonRow) -> bool:
        return row.get("prompt") is not None and row.get(_answer_column(row)) is not None

    def messages(self, row: JsonRow) -> list[Message]:
        if isinstance(row.get("prompt"), list):
            prompt = read_messages(row, "prompt")
        else:
            prompt = [Message(role="user", content=require_text(row, "prompt"))]
        column = _answer_column(row)
        if isinstance(row.get(column), list):
            answer = read_messages(row, column)
        else:
            answer = [Message(role="assistant", content=read_answer(row, column))]
        return with_system(row, [*prompt, *answer])


def _answer_column(row: JsonRow) -> str:
    return "completion" if row.get("completion") is not None else "response"
