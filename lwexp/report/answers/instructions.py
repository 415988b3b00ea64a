"""Scores of length by kind of instruction: about, at least, at most, between; pure."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from lwexp.pages.display import score
from lwexp.records import AnswerCheck
from lwexp.report.aggregation import ScoredResponse
from lwexp.report.evaluations import Evaluation
from lwexp.stats.scores import prompt_means

_TITLES = {"about": "about", "at_least": "at least", "at_most": "at most", "between": "between", "": "all"}


class InstructionRow(NamedTuple):
    """A model's answers to prompts with one kind of instruction; every number is a mean over prompts."""

    title: str
    n_prompts: int
    length: float
    """S_l."""
    obeyed: float
    """S_l, but 100 for every length that the instruction allows."""
    life: float
    """LIFEBench's Length Score."""
    deviation: float
    """Percent of the nearest allowed length by which it is missed, without sign."""


def instruction_rows(evaluation: Evaluation) -> list[InstructionRow]:
    """A row for each kind, then all; empty if no prompt allows a direction, or the run has no such checks."""
    found = evaluation.diagnostics.checks
    pairs = [
        (answer, check)
        for answer in evaluation.came
        if (check := found.get(answer.response.id)) and check.length_rule and answer.scores.get("S_l") is not None
    ]
    if all(check.length_rule == "about" for _, check in pairs):
        return []
    kinds = [kind for kind in _TITLES if not kind or any(check.length_rule == kind for _, check in pairs)]
    return [_row(kind, [pair for pair in pairs if kind in ("", pair[1].length_rule)]) for kind in kinds]


def _row(kind: str, pairs: Sequence[tuple[ScoredResponse, AnswerCheck]]) -> InstructionRow:
    scored = [
        (
            answer.response.prompt_id,
            {
                "S_l": answer.scores["S_l"], "obeyed": check.S_l_obeyed, "life": check.life_score,
                "deviation": 100 * abs(check.length_deviation or 0.0),
            },
        )
        for answer, check in pairs
    ]  # fmt: skip
    means = {name: prompt_means(scored, name).values() for name in ("S_l", "obeyed", "life", "deviation")}
    length, obeyed, life, deviation = (fmean(values) for values in means.values())
    return InstructionRow(_TITLES[kind], len(means["S_l"]), length, obeyed, life, deviation)


def instruction_note(evaluations: Sequence[Evaluation]) -> str:
    """A sentence on prompts that allow a direction, and S_l that obeys them; empty if there are none."""
    found = [(each, rows) for each in evaluations if (rows := instruction_rows(each))]
    if not found:
        return ""
    most = max((rows for _, rows in found), key=lambda rows: rows[-1].n_prompts)
    allowing = sum(row.n_prompts for row in most[:-1] if row.title != "about")
    scores = "; ".join(f"{each.named} {score(rows[-1].obeyed)} (S_l {score(rows[-1].length)})" for each, rows in found)
    return (
        f"{allowing:,} of {most[-1].n_prompts:,} prompts ask for at least, at most or between, where S_l counts an "
        f"allowed length as missed. S_l that obeys the instruction: {scores}."
    )
