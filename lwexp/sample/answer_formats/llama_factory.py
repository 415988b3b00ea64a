"""LLaMA-Factory's generated_predictions.jsonl: ``{"prompt": ..., "predict": ..., "label": ...}``.

Source: hiyouga/LLaMA-Factory, src/llamafactory/train/sft/trainer.py at 0454c10, save_predictions. The prompt is what
the model was given, with the chat template around it.
"""

from typing import ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer


@register
class LlamaFactory(AnswerFormat):
    kind: Literal["llama_factory"] = "llama_factory"
    rank: ClassVar[int] = 15
    tool: ClassVar[str] = "LLaMA-Factory"

    def detects(self, row: JsonRow) -> bool:
        return "predict" in row and "prompt" in row

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        if not isinstance(row["predict"], str | None):
            raise BrokenRowError("wrong_type", f"predict is {row['predict']!r:.60}, wanted text or null")
        return [GivenAnswer(row["predict"], str(row["prompt"]), is_templated=True)]
