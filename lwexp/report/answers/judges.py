"""Judges of the same answers side by side: their means, and how far they agree; pure.

A judge is a scorer of verdicts. Two may have judged within one evaluation, if scores came with the answers, or in two
evaluations of the same texts.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from lwexp.pages.display import score
from lwexp.records import MetricInfo, Verdict
from lwexp.report.evaluations import Evaluation
from lwexp.report.groups import Group
from lwexp.runs.artifacts import Tree
from lwexp.stats.agreement import krippendorff_alpha, mean_absolute_difference, rank_correlation
from lwexp.stats.intervals import Difference, paired_difference
from lwexp.stats.scores import prompt_means
from lwexp.text.cells import markdown_cell, markdown_table

_Answer = tuple[str, int, str]  # prompt id, repeat, text


class Agreement(NamedTuple):
    """How two judges scored the same answers, on the metric or on one of its dimensions."""

    name: str
    means: tuple[float, float]
    correlation: float | None
    """Spearman's, over answers; None if a judge gave all of them the same score."""
    alpha: float | None
    """Krippendorff's, for interval data."""
    apart: float
    """Mean absolute difference."""


class JudgePair(NamedTuple):
    """Two judges of one model's answers."""

    model: Evaluation
    metric: MetricInfo
    judges: tuple[str, str]
    n: int
    """Answers that both scored."""
    difference: Difference | None
    """The first judge's scores minus the second's, over prompts."""
    rows: tuple[Agreement, ...]
    """The metric, then its dimensions."""


class _Scores(NamedTuple):
    """What one judge gave to the answers of one evaluation."""

    model: Evaluation
    metric: MetricInfo
    judge: str
    verdicts: dict[_Answer, Verdict]


def judge_pairs(groups: Iterable[Group]) -> list[JudgePair]:
    """Every two judges of the same answers, in the order of the report.

    Answers are the same if prompt, repeat and text are, and two judges are compared if they share half of the answers
    of the one who scored fewer.
    """
    evaluations = {each.node.id: each for group in groups for each in group.evaluations}
    scored = [scores for each in evaluations.values() for scores in _scores(each)]
    found = []
    for a, b in combinations(scored, 2):
        if a.judge == b.judge or a.metric.kind != b.metric.kind or a.model.bench != b.model.bench:
            continue
        shared = [answer for answer in a.verdicts if answer in b.verdicts]
        if len(shared) > 1 and 2 * len(shared) >= min(len(a.verdicts), len(b.verdicts)):
            found.append(_pair(a, b, shared))
    return found


def _scores(evaluation: Evaluation) -> list[_Scores]:
    """The scores of each judge and judged metric; empty answers, which no judge sees, are left out."""
    texts = {
        answer.response.id: (answer.response.prompt_id, answer.response.repeat, answer.response.text)
        for answer in evaluation.came
        if answer.response.text.strip()
    }
    metrics = {metric.kind: metric for metric in evaluation.metrics if metric.needs_judge and not metric.of}
    found: dict[tuple[str, str], dict[_Answer, Verdict]] = {}
    for verdict in evaluation.judged:
        if verdict.score is not None and verdict.kind in metrics and verdict.response_id in texts:
            found.setdefault((verdict.scorer, verdict.kind), {})[texts[verdict.response_id]] = verdict
    return [_Scores(evaluation, metrics[kind], judge, verdicts) for (judge, kind), verdicts in found.items()]


def _pair(a: _Scores, b: _Scores, shared: Sequence[_Answer]) -> JudgePair:
    both = [(a.verdicts[answer], b.verdicts[answer]) for answer in shared]
    names = dict.fromkeys(name for first, second in both for name in first.dimensions if name in second.dimensions)
    rows = [_agreement(a.metric.label, [(x.score or 0.0, y.score or 0.0) for x, y in both])]
    for name in names:
        given = [
            (x.dimensions[name], y.dimensions[name]) for x, y in both if name in x.dimensions and name in y.dimensions
        ]
        rows.append(_agreement(name.replace("_", " "), given))
    name = a.metric.name
    first, second = (
        prompt_means(((answer[0], {name: scores.verdicts[answer].score}) for answer in shared), name)
        for scores in (a, b)
    )
    return JudgePair(a.model, a.metric, (a.judge, b.judge), len(shared), paired_difference(first, second), tuple(rows))


def _agreement(name: str, pairs: Sequence[tuple[float, float]]) -> Agreement:
    firsts, seconds = zip(*pairs, strict=True)
    return Agreement(
        name, (fmean(firsts), fmean(seconds)), rank_correlation(firsts, seconds), krippendorff_alpha(pairs),
        mean_absolute_difference(pairs) or 0.0,
    )  # fmt: skip


def judges_summary(pair: JudgePair) -> Tree:
    """A pair in summary.json."""
    agreement = {
        row.name: {"means": row.means, "spearman": row.correlation, "alpha": row.alpha, "mean_difference": row.apart}
        for row in pair.rows
    }
    interval = pair.difference.interval if pair.difference else None
    return {"model": pair.model.label, "judges": pair.judges, "n": pair.n, "interval": interval, "agreement": agreement}


def judges_table(group: Group, groups: Sequence[Group]) -> str:
    """Judges of the same answers of the group's models side by side; empty if there are none."""
    head = ["model", "score", "judges", "answers", "means", "Spearman", "alpha", "mean difference"]
    rows = [
        [*map(markdown_cell, (pair.model.label, row.name, " / ".join(pair.judges))), f"{pair.n:,}",
         " / ".join(score(mean, 2) for mean in row.means), score(row.correlation, 2), score(row.alpha, 2),
         score(row.apart, 2)]
        for pair in judge_pairs(groups)
        if pair.model.node.id in {each.node.id for each in group.evaluations}
        for row in pair.rows
    ]  # fmt: skip
    return markdown_table(head, rows, align="lll" + "r" * 5) if rows else ""
