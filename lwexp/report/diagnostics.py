"""What an evaluation measured beside its scores: checks, positions, agreement, pairs, regression; read and summed up.

Every number here is counted or averaged from the files that ``lwexp.score`` describes; a file that an evaluation
does not have leaves its part out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from lwexp.records import Check, Position
from lwexp.report.reading import object_of, rows_of
from lwexp.report.tables import Answer
from lwexp.runs.artifacts import Tree
from lwexp.stats.intervals import Interval, interval
from lwexp.text.plain import one_line

MEASURES = ("repeated", "distinct", "quality")


@dataclass(frozen=True)
class Diagnostics:
    """The further files of one evaluation; empty where it has none."""

    checks: Mapping[str, Check]
    positions: tuple[Position, ...]
    judge: Tree
    pairwise: Tree
    regression: Tree


class Endings(NamedTuple):
    """How answers end, and whether they talk to a judge. ``n`` answers were checked."""

    n: int
    stopped_early: int
    loops: int
    cut: int
    empty: int
    never_came: int
    directed: int


class Point(NamedTuple):
    """A mean over prompts in one part of the text, with its 95% interval."""

    mean: float
    interval: Interval | None


class PairwiseResult(NamedTuple):
    """One model against another, each pair judged in both orders."""

    other: str
    scorer: str
    wins: int
    ties: int
    losses: int
    unscored: int
    prompts: int
    rate: float | None
    interval: Interval | None
    first_shown_wins: float | None

    def share(self, count: int) -> float:
        """Per cent of the pairs that were scored."""
        total = self.wins + self.ties + self.losses
        return 100 * count / total if total else 0.0


class PairedDifference(NamedTuple):
    """A part of the bench and score beside those of another run, prompt by prompt."""

    part: str
    score: str
    n: int
    ours: float
    other: float
    difference: float
    interval: Interval | None
    is_worse: bool


def read_diagnostics(path: Path, run_id: str, notes: list[str]) -> Diagnostics:
    """Read what there is beside responses and verdicts."""
    checks = {check.response_id: check for check in rows_of(path / "checks.jsonl", Check, run_id, notes)}
    positions = tuple(rows_of(path / "positions.jsonl", Position, run_id, notes))
    objects = [object_of(path / f"{name}.json") for name in ("judge", "pairwise", "regression")]
    return Diagnostics(checks, positions, *objects)


def endings(answers: Sequence[Answer], diagnostics: Diagnostics) -> Endings | None:
    """Counts over the answers that were checked; None where none was."""
    if not diagnostics.checks:
        return None
    checks = [diagnostics.checks[a.response.id] for a in answers if a.response.id in diagnostics.checks]
    return Endings(
        n=len(checks),
        stopped_early=sum(check.stopped_early for check in checks),
        loops=sum(check.loops for check in checks),
        cut=sum(answer.response.finish_reason == "length" for answer in answers),
        empty=sum(answer.response.words == 0 and answer.response.finish_reason != "error" for answer in answers),
        never_came=sum(answer.response.finish_reason == "error" for answer in answers),
        directed=sum(bool(check.directed) for check in checks),
    )


def signs(answer: Answer, diagnostics: Diagnostics) -> list[str]:
    """What a reader may want to filter for, in words."""
    check = diagnostics.checks.get(answer.response.id)
    found = {
        "unscored": answer.reason is not None,
        "never came": answer.response.finish_reason == "error",
        "empty": answer.response.words == 0 and answer.response.finish_reason != "error",
        "cut off": answer.response.finish_reason == "length",
        "stops early": check is not None and check.stopped_early,
        "loops": check is not None and check.loops,
        "talks to the judge": check is not None and bool(check.directed),
    }
    return [name for name, holds in found.items() if holds]


def by_position(answers: Sequence[Answer], diagnostics: Diagnostics) -> dict[str, dict[int, Point]]:
    """Measure -> segment -> mean over prompts; repeats enter as their mean, unscored parts not at all."""
    prompts = {answer.response.id: answer.response.prompt_id for answer in answers}
    values: dict[tuple[str, int], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for position in diagnostics.positions:
        prompt = prompts.get(position.response_id)
        for measure in MEASURES:
            value = getattr(position, measure)
            if prompt is not None and value is not None:
                values[measure, position.segment][prompt].append(value)
    found: dict[str, dict[int, Point]] = {}
    for (measure, segment), by_prompt in sorted(values.items()):
        means = [fmean(each) for each in by_prompt.values()]
        found.setdefault(measure, {})[segment] = Point(fmean(means), interval(means))
    return found


def pairwise_result(diagnostics: Diagnostics, names: Mapping[str, str]) -> PairwiseResult | None:
    """The pairwise comparison; ``names`` gives the label of a run that stands in the report."""
    tree = diagnostics.pairwise
    if not tree:
        return None
    count = {key: int(_number(tree.get(key)) or 0) for key in ("ours", "ties", "other_wins", "unscored", "prompts")}
    return PairwiseResult(
        other=_name(tree.get("other"), names),
        scorer=one_line(str(tree.get("scorer", "")), 60),
        wins=count["ours"],
        ties=count["ties"],
        losses=count["other_wins"],
        unscored=count["unscored"],
        prompts=count["prompts"],
        rate=_number(tree.get("win_rate")),
        interval=_interval(tree.get("interval")),
        first_shown_wins=_number(tree.get("first_shown_wins")),
    )


def regression_rows(diagnostics: Diagnostics) -> list[PairedDifference]:
    """Rows of regression.json that can be read."""
    ranges = diagnostics.regression.get("ranges")
    rows = []
    for part, scores in ranges.items() if isinstance(ranges, dict) else ():
        for score, cell in scores.items() if isinstance(scores, dict) else ():
            numbers = [_number(cell.get(key)) for key in ("ours", "other", "difference")]
            if None in numbers:
                continue
            ours, other, difference = (value or 0.0 for value in numbers)
            found = _interval(cell.get("interval"))
            rows.append(
                PairedDifference(
                    str(part), str(score), int(_number(cell.get("n")) or 0), ours, other, difference, found,
                    bool(cell.get("is_worse")),
                )
            )  # fmt: skip
    return rows


def compared_with(diagnostics: Diagnostics, names: Mapping[str, str]) -> str:
    """The run that regression.json compares with, by its name in the report where it has one."""
    return _name(diagnostics.regression.get("other"), names)


def agreement(diagnostics: Diagnostics) -> dict[str, Any] | None:
    """How far a judge's replies to one answer agree; None where each answer was judged once."""
    tree = diagnostics.judge
    if not _number(tree.get("compared")):
        return None
    alpha = tree.get("alpha")
    return {
        "judge": one_line(str(tree.get("model", "")), 60),
        "repeats": int(_number(tree.get("repeats")) or 0),
        "compared": int(_number(tree.get("compared")) or 0),
        "alpha": {str(key): _number(value) for key, value in alpha.items()} if isinstance(alpha, dict) else {},
        "difference": _number(tree.get("mean_absolute_difference")),
    }


def _name(run: Any, names: Mapping[str, str]) -> str:
    key = Path(str(run or "unknown")).name
    return names.get(key, one_line(key, 60))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None


def _interval(value: Any) -> Interval | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = _number(value[0]), _number(value[1])
    return None if low is None or high is None else (low, high)
