"""EvalScope 1.x predictions: ``{"index", "model", "model_output": {"choices": [...]}, "messages": [...]}``.

Source: evalscope 1.14.1, api/evaluator/cache.py, ModelResult. ``index`` is a position and not read. The pred.jsonl of
older versions and of its LongBench-Write module is the release's format.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import finish, last_of, text_of


@register
class EvalScope(AnswerFormat):
    kind: Literal["evalscope"] = "evalscope"
    rank: ClassVar[int] = 13
    tool: ClassVar[str] = "EvalScope 1.x"

    def detects(self, row: JsonRow) -> bool:
        return "model_output" in row and "messages" in row

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One answer per choice; an output with an error and no choice is a missing answer."""
        output = row["model_output"]
        choices = (output.get("choices") or []) if isinstance(output, Mapping) else []
        asked = GivenAnswer(None, last_of(row["messages"], "user"), model=row.get("model") or None)
        found = []
        for number, choice in enumerate(choices):
            text, reasoning = text_of((choice.get("message") or {}).get("content"))
            ended = finish(choice.get("stop_reason"))
            found.append(asked._replace(text=text, reasoning=reasoning, finish_reason=ended, repeat=number))
        return found or [asked]
