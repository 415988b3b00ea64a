"""OpenCompass predictions: ``{"0": {"origin_prompt": ..., "prediction": ..., "gold": ...}, ...}``, or its values.

The values may stand one per line. The outer keys and ``idx`` are positions and are not read.

Source: opencompass 0.5.4, openicl/icl_inferencer/icl_base_inferencer.py.
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import prompt_in


@register
class OpenCompass(AnswerFormat):
    kind: Literal["opencompass"] = "opencompass"
    rank: ClassVar[int] = 14
    tool: ClassVar[str] = "OpenCompass"

    def detects(self, row: JsonRow) -> bool:
        return "origin_prompt" in row and "prediction" in row

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One answer, or one per text in a list of predictions."""
        given = row["prediction"]
        texts = given if isinstance(given, list) else [given]
        if not all(isinstance(text, str | None) for text in texts):
            raise BrokenRowError("wrong_type", f"prediction is {given!r:.60}, wanted text or null")
        prompt = prompt_in(row["origin_prompt"])
        return [GivenAnswer(text, prompt, is_templated=True, repeat=number) for number, text in enumerate(texts)]
