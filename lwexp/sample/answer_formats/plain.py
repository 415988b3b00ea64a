"""Rows with a prompt and an answer in columns: the release's pred.jsonl, lwexp's responses.jsonl, CSV, and many others.

Source: THUDM/LongWriter evaluation/pred.py and eval_quality.py at 3fcfdff; evalscope 1.14.1
third_party/longbench_write/infer.py; the query and response of ms-swift 2; the instruction, input and output of alpaca.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.registry import register
from lwexp.extend.rows import AnswerFormat, GivenAnswer
from lwexp.sample.answer_formats.parts import ANSWER_COLUMNS, prompt_in, with_columns

# The first name is the release's.
_PROMPT = ("prompt", "query", "instruction", "question")


@register
class Plain(AnswerFormat):
    kind: Literal["plain"] = "plain"
    rank: ClassVar[int] = 90
    tool: ClassVar[str] = "plain rows"

    def detects(self, row: JsonRow) -> bool:
        return any(key in row for key in ANSWER_COLUMNS) or _is_total(row)

    def counted(self, rows: Sequence[tuple[str, JsonRow]]) -> Sequence[tuple[str, JsonRow]]:
        """Without the line of totals that the release's eval_quality.py appends to its judge.jsonl."""
        return [(place, row) for place, row in rows if not _is_total(row)]

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """One answer, or one per text in a list."""
        found = {key: row[key] for key in ANSWER_COLUMNS if key in row}
        given = next(iter(found.values()), None)
        if other := next((key for key, value in found.items() if value != given), None):
            raise BrokenRowError(
                "wrong_type", f"{next(iter(found))} and {other} hold different texts; keep the one that is the answer"
            )
        texts = given if isinstance(given, list) else [given]
        if not texts or not all(isinstance(text, str | None) for text in texts):
            raise BrokenRowError("wrong_type", f"the answer must be text, got {given!r:.60}")
        if row.get("history"):
            raise BrokenRowError("wrong_type", "history has earlier turns; wanted one prompt and one answer")
        first = with_columns(row, texts[0], _prompt(row))
        return [first._replace(text=text, repeat=first.repeat + number) for number, text in enumerate(texts)]


def _is_total(row: JsonRow) -> bool:
    return "total" in row and all(isinstance(value, int | float) for value in row.values())


def _prompt(row: JsonRow) -> str | None:
    prompt: Any = next((row[key] for key in _PROMPT if row.get(key)), None)
    if prompt is None:
        return None
    further = row.get("input") if "instruction" in row else None
    return f"{prompt}\n{further}" if further else prompt_in(prompt)
