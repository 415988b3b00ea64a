"""What an evaluation measured besides its scores: checks, positions, agreement, pairs, regression.

Every number here is counted or averaged from the files that ``lwexp.score`` describes; if an evaluation lacks a file,
that part is left out.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypeVar

from lwexp.records import AnswerCheck, BadRow, Judgement, SegmentCheck, scan_rows
from lwexp.records import Row as RecordRow
from lwexp.report.aggregation import ScoredResponse
from lwexp.runs.artifacts import CHECKS, JUDGEMENTS, POSITIONS
from lwexp.runs.summaries import JudgeAnchors, JudgeSummary, MetricJudgeSummary, PairwiseSummary, RegressionSummary
from lwexp.stats.intervals import Interval, interval
from lwexp.text.plain import one_line, plural

R = TypeVar("R", bound=RecordRow)

MEASURES = ("repeated", "distinct", "quality")


@dataclass(frozen=True)
class Diagnostics:
    """What the other files of one evaluation hold; a field is empty or None if its file is missing."""

    checks: Mapping[str, AnswerCheck]
    positions: tuple[SegmentCheck, ...]
    judge: JudgeSummary | None
    pairwise: PairwiseSummary | None
    regression: RegressionSummary | None
    reasons: Mapping[tuple[str, str, str], Mapping[str, tuple[str, ...]]]
    """Response id, kind of metric and judge -> dimension -> what the judge said, one text for each reply."""
    anchors: JudgeAnchors | None


class Point(NamedTuple):
    """A mean over prompts in one part of the text, with its 95% interval."""

    mean: float
    interval: Interval | None


def read_diagnostics(path: Path, run_id: str, notes: list[str]) -> Diagnostics:
    return Diagnostics(
        {check.response_id: check for check in rows_of(path / CHECKS, AnswerCheck, run_id, notes)},
        tuple(rows_of(path / POSITIONS, SegmentCheck, run_id, notes)),
        JudgeSummary.read(path),
        PairwiseSummary.read(path),
        RegressionSummary.read(path),
        _reasons(rows_of(path / JUDGEMENTS, Judgement, run_id, notes)),
        JudgeAnchors.read(path),
    )


def _reasons(judgements: Iterable[Judgement]) -> dict[tuple[str, str, str], dict[str, tuple[str, ...]]]:
    found: dict[tuple[str, str, str], dict[str, tuple[str, ...]]] = {}
    for row in judgements:
        for name, reason in row.reasons.items():
            own = found.setdefault((row.response_id, row.kind, row.scorer), {})
            own[name] = (*own.get(name, ()), reason)
    return found


def rows_of(path: Path, row_type: type[R], run_id: str, notes: list[str]) -> list[R]:
    """Readable rows of a file that may be missing or torn; what cannot be read is counted in a note."""
    if not path.is_file():
        return []
    rows: list[R] = []
    bad: list[BadRow] = []
    for item in scan_rows(path, row_type):
        if isinstance(item, BadRow):
            bad.append(item)
        else:
            rows.append(item)
    if bad:
        first = one_line(f"line {bad[0].line}: {bad[0].problem}", 200)
        notes.append(f"{run_id}: ignored {plural(len(bad), 'unreadable line')} in {path.name} (first: {first}).")
    return rows


def sign_counts(answers: Sequence[ScoredResponse], diagnostics: Diagnostics) -> Counter[str] | None:
    """How many answers have each of the ``signs``, and how many were "checked"; None if there are no checks."""
    if not diagnostics.checks:
        return None
    found = Counter(sign for answer in answers for sign in signs(answer, diagnostics))
    found["checked"] = sum(answer.response.id in diagnostics.checks for answer in answers)
    return found


def signs(answer: ScoredResponse, diagnostics: Diagnostics) -> list[str]:
    """What is unusual about an answer, in words; the report can filter answers by it."""
    check = diagnostics.checks.get(answer.response.id)
    found = {
        "unscored": answer.reason is not None,
        "missing": answer.is_missing,
        "empty": answer.response.words == 0 and not answer.is_missing,
        "cut off": answer.response.finish_reason == "length",
        "stops early": check is not None and check.stopped_early,
        "loops": check is not None and check.loops,
        "plays the next turn": check is not None and bool(check.next_turn),
        "addresses the judge": check is not None and bool(check.directed),
    }
    return [name for name, holds in found.items() if holds]


def by_position(answers: Sequence[ScoredResponse], diagnostics: Diagnostics) -> dict[str, dict[int, Point]]:
    """Measure -> segment -> mean over prompts. Repeats of a prompt are averaged first; unscored parts are left out."""
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
        found.setdefault(measure, {})[segment] = Point(
            fmean(means), interval(means, within=(0, 100 if measure == "quality" else 1))
        )
    return found


def other_name(run: str, names: Mapping[str, str]) -> str:
    """The other run's name in the report, or its id."""
    key = Path(run).name
    return names.get(key, one_line(key, 60))


def agreement(diagnostics: Diagnostics) -> list[MetricJudgeSummary]:
    """How far a judge's replies to one answer agree, for each metric that was judged repeatedly."""
    judge = diagnostics.judge
    return [found for found in (judge, *judge.further) if found.compared] if judge else []
