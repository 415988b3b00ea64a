"""``{"conversations": [...], "chosen": {"from": "gpt", "value": "..."}, "rejected": {...}, "system": "..."?}``."""

from typing import ClassVar, Literal

from lwexp.extend.columns import JsonRow, read_answer, read_messages, with_system
from lwexp.extend.registry import register
from lwexp.extend.rows import PairFormat, PairTurns


@register
class Ranking(PairFormat):
    kind: Literal["ranking"] = "ranking"
    rank: ClassVar[int] = 11

    def detects(self, row: JsonRow) -> bool:
        return all(row.get(column) is not None for column in ("chosen", "rejected", "conversations"))

    def turns(self, row: JsonRow) -> PairTurns:
        prompt = with_system(row, read_messages(row, "conversations"))
        return PairTurns(prompt, read_answer(row, "chosen"), read_answer(row, "rejected"))
