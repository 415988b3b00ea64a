"""Rows with a prompt and an answer in columns: the release's pred.jsonl, lwexp's responses.jsonl, CSV, and many others.

Source: THUDM/LongWriter evaluation/pred.py at 3fcfdff; evalscope 1.14.1 third_party/longbench_write/infer.py; the
query and response of ms-swift 2; the instruction, input and output of alpaca.
"""

from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.records import Sampling, first_problem
from lwexp.sample.answer_formats.parts import named, prompt_in

# The first is the release's name, the second ours.
_TEXT = ("response", "text", "answer", "output", "completion", "generation", "generated_text", "prediction")
_PROMPT = ("prompt", "query", "instruction", "question")
_REASONING = ("reasoning_content", "reasoning")  # what servers call it; the second is ours, too


@register
class Plain(AnswerFormat):
    kind: Literal["plain"] = "plain"
    rank: ClassVar[int] = 90
    tool: ClassVar[str] = "plain rows"

    def detects(self, row: JsonRow) -> bool:
        return any(key in row for key in _TEXT)

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One, or one for each text in a list."""
        found = {key: row[key] for key in _TEXT if key in row}
        given = next(iter(found.values()), None)
        if other := next((key for key, value in found.items() if value != given), None):
            raise BrokenRowError(
                "wrong_type", f"{next(iter(found))} and {other} hold different texts; keep the one that is the answer"
            )
        texts = given if isinstance(given, list) else [given]
        if not all(isinstance(text, str | None) for text in texts):
            raise BrokenRowError("wrong_type", f"the answer must be text, got {given!r:.60}")
        if row.get("history"):
            raise BrokenRowError("wrong_type", "history has earlier turns; wanted one prompt and one answer")
        first = _given(row, texts[0])
        return [first._replace(text=text, repeat=first.repeat + number) for number, text in enumerate(texts)]


def _given(row: JsonRow, text: str | None) -> GivenAnswer:
    try:
        sampling = Sampling.model_validate(row["sampling"]) if row.get("sampling") and text is not None else None
    except ValidationError as error:
        raise BrokenRowError("wrong_type", f"sampling: {first_problem(error)}") from None
    repeat = row.get("repeat", 0)
    if type(repeat) is not int or not 0 <= repeat < 1000:
        raise BrokenRowError("wrong_type", f"repeat must be a whole number from 0 on, got {repeat!r:.40}")
    # "length" is the requested length in the release's rows; elsewhere it may be the answer's.
    asked = row.get("length") if "response_length" in row else row.get("required_words")
    reason = row.get("finish_reason")
    return GivenAnswer(
        text=text,
        prompt=_prompt(row),
        ids=named(row, "prompt_id", "id"),
        bench=str(row["bench"]) if row.get("bench") else None,
        required_words=asked if isinstance(asked, int) else None,
        repeat=repeat,
        model=str(row["model"]) if row.get("model") else None,
        reasoning=next((row[key] for key in _REASONING if isinstance(row.get(key), str)), ""),
        finish_reason=str(reason) if reason else None,
        sampling=sampling,
    )


def _prompt(row: JsonRow) -> str | None:
    prompt: Any = next((row[key] for key in _PROMPT if row.get(key)), None)
    if prompt is None:
        return None
    further = row.get("input") if "instruction" in row else None
    return f"{prompt}\n{further}" if further else prompt_in(prompt)
