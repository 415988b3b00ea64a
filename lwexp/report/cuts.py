"""Lengths and S_l of the texts as written, and after reasoning, next turns and loops are cut off; pure.

Cuts are made in this order, and none changes a score: reasoning before the answer, the next turn of the chat played by
the model, and the repeats of a loop at the end. S_l as the paper defines it is over the texts without reasoning.
"""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.pages.display import score, words
from lwexp.report.aggregation import length_by_words
from lwexp.report.evaluations import Evaluation

_NAMES = ("as written", "without reasoning", "without next turns", "without loops")
_WORTH_SAYING = 0.5  # points of S_l


class Stage(NamedTuple):
    """All answers of a model after a cut."""

    name: str
    n_cut: int
    """Answers that this cut made shorter."""
    words_cut: int
    longest: int
    length: float | None
    """Mean S_l; None without S_l."""


def stages(evaluation: Evaluation) -> list[Stage]:
    """The answers after each cut; empty if no cut shortens an answer, or if an older version made the run."""
    checks = [evaluation.diagnostics.checks.get(answer.response.id) for answer in evaluation.came]
    rows = []
    for answer, check in zip(evaluation.came, checks, strict=True):
        if check is None or check.words_without_next_turn is None or check.clean_words is None:
            return []
        own = answer.response.words
        rows.append((own + check.reasoning_words, own, check.words_without_next_turn, check.clean_words))
    if all(row[0] == row[-1] for row in rows):
        return []
    columns = list(zip(*rows, strict=True))
    return [
        Stage(
            name,
            sum(a != b for a, b in zip(before, after, strict=True)),
            sum(before) - sum(after),
            max(after),
            length_by_words(evaluation.came, after),
        )
        for name, before, after in zip(_NAMES, [columns[0], *columns], columns, strict=False)
    ]


def cut_note(evaluations: Sequence[Evaluation]) -> str:
    """A sentence on models whose S_l or longest answer changes without loops and next turns; empty if none does."""
    found = [said for each in evaluations if (said := _inflated(each))]
    if not found:
        return ""
    return f"Loops and next turns played by the model count in S_l and in the longest answer: {'; '.join(found)}."


def _inflated(evaluation: Evaluation) -> str:
    total = evaluation.total
    as_scored, clean = total.scores["S_l"].mean, total.clean_length
    said = []
    if as_scored is not None and clean is not None and abs(as_scored - clean) >= _WORTH_SAYING:
        said.append(f"S_l {score(as_scored)}, without them {score(clean)}")
    if evaluation.without_loops:
        said.append(f"longest answer {words(total.max_words)}, without them {words(total.max_clean_words)}")
    return f"{evaluation.named} {', '.join(said)}" if said else ""
