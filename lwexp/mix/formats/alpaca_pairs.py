"""``{"instruction": "...", "input": "..."?, "chosen": "...", "rejected": "..."}``: LLaMA-Factory."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, read_answer, with_system
from lwexp.extend.registry import register
from lwexp.extend.rows import PairFormat, PairTurns
from lwexp.mix.formats.alpaca import alpaca_question
from lwexp.records import Message


@register
class AlpacaPairs(PairFormat):
    kind: Literal["alpaca"] = "alpaca"
    rank: ClassVar[int] = 12

    def detects(self, row: JsonRow) -> bool:
        needed = all(row.get(column) is not None for column in ("chosen", "rejected", "instruction"))
        return needed and row.get("prompt") is None

    def turns(self, row: JsonRow) -> PairTurns:
        prompt = with_system(row, [Message(role="user", content=alpaca_question(row))])
        return PairTurns(prompt, read_answer(row, "chosen"), read_answer(row, "rejected"))
