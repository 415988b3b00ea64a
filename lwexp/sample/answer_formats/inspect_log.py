"""A sample of an inspect_ai log: ``{"id": ..., "epoch": 1, "input": ..., "output": {"choices": [...]}}``.

Source: inspect_ai 0.3.285, inspect_ai.log.EvalSample and inspect_ai.model.ModelOutput. Epochs are repeats. Ids
that are whole numbers are ignored: inspect numbers samples that have no id.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import failure_in, finish, named, prompt_in, text_of


@register
class InspectLog(AnswerFormat):
    kind: Literal["inspect_log"] = "inspect_log"
    rank: ClassVar[int] = 11
    tool: ClassVar[str] = "inspect_ai"

    def detects(self, row: JsonRow) -> bool:
        return "epoch" in row and "input" in row and isinstance(row.get("output"), Mapping)

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """The first choice of a sample; a sample that ended with an error is a missing answer."""
        output = row["output"]
        choices = output.get("choices") or []
        asked = GivenAnswer(
            None, prompt_in(row["input"]), ids=named(row, "id") if isinstance(row.get("id"), str) else (),
            repeat=int(row["epoch"]) - 1, model=output.get("model"),
        )  # fmt: skip
        if row.get("error") or not choices:
            return [asked._replace(failure=failure_in(row.get("error") or output.get("error")))]
        text, reasoning = text_of((choices[0].get("message") or {}).get("content"))
        return [asked._replace(text=text, reasoning=reasoning, finish_reason=finish(choices[0].get("stop_reason")))]
