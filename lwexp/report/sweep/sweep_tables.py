"""What the page, the Markdown and the CSV show of a sweep's trials."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from lwexp.pages import display
from lwexp.pages.drawing import with_own_ids
from lwexp.records import MetricInfo
from lwexp.report.sweep.sweep_analysis import Fit, SweepResult
from lwexp.report.sweep.sweep_figure import sweep_figure
from lwexp.report.sweep.trials import Outcome, Sweep
from lwexp.report.tables import Cell, cell
from lwexp.text.cells import csv_cell, markdown_cell
from lwexp.text.plain import one_line

Tree = dict[str, Any]
_COLUMNS = (
    "status", "exit_code", "reason", "seconds", "max_train_words", "median_words", "max_words", "S_l", "S_l_low",
    "S_l_high", "S_q", "S_bar", "answers", "unscored", "long_share", "dollars", "gpu_hours", "runs",
)  # fmt: skip


def sweep_context(sweep: Sweep, result: SweepResult | None, places: Mapping[str, int]) -> Tree:
    """For the template: the question's answer, and a row for every trial."""
    picture = with_own_ids([sweep_figure(result, places)], "q")[0] if result else None
    counts = {status: sum(o.trial.status == status for o in sweep.outcomes) for status in _statuses(sweep)}
    return {
        "sweep": sweep,
        "result": result,
        "metrics": list(metrics_of(sweep).values()),
        "figure": picture,
        "rows": [_row(outcome, places) for outcome in sweep.outcomes],
        "tally": f"{len(sweep.outcomes)} trials = " + " + ".join(f"{n} {status}" for status, n in counts.items()),
        "has_failed": any(outcome.trial.status != "finished" for outcome in sweep.outcomes),
        "dollars": _sum(outcome.dollars for outcome in sweep.outcomes),
        "gpu_hours": _sum(outcome.gpu_hours for outcome in sweep.outcomes),
    }


def metrics_of(sweep: Sweep) -> dict[str, MetricInfo]:
    """What any of its trials was scored by, by name."""
    evaluations = [outcome.evaluation for outcome in sweep.outcomes if outcome.evaluation]
    return {metric.name: metric for evaluation in evaluations for metric in evaluation.metrics}


def _statuses(sweep: Sweep) -> list[str]:
    return list(dict.fromkeys(outcome.trial.status for outcome in sweep.outcomes))


def _row(outcome: Outcome, places: Mapping[str, int]) -> Tree:
    evaluation = outcome.evaluation
    total = cell(evaluation.answers) if evaluation else None
    return {
        "outcome": outcome,
        "number": outcome.trial.number + 1,
        "place": places.get(evaluation.label) if evaluation else None,
        "total": total,
        "unscored": total.scores["S_q"].n_unscored if total and evaluation and evaluation.judge else None,
        "reason": one_line(outcome.trial.reason or "", 300),
        "log": outcome.trial.log,
    }


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def fit_summary(fit: Fit | None) -> Tree | None:
    """The fit by name, for summary.json."""
    if fit is None:
        return None
    return {
        "slope": fit.slope,
        "slope_interval": fit.slope_interval,
        "intercept": fit.intercept,
        "r_squared": fit.r_squared,
        "rank_correlation": fit.rank_correlation,
        "rank_correlation_of_means": fit.rank_of_means,
        "n": fit.n,
    }


def sweep_summary(sweep: Sweep, result: SweepResult | None) -> Tree:
    """For summary.json: question, finding, fit and every trial."""
    return {
        "name": sweep.name,
        "question": sweep.question,
        "finding": display.quoted(result.finding) if result else None,
        "fit": fit_summary(result.fit) if result else None,
        "trials": [
            {**outcome.settings, **dict(zip(_COLUMNS, _values(outcome), strict=True))} for outcome in sweep.outcomes
        ],
    }


def _values(outcome: Outcome) -> list[Any]:
    trial, evaluation = outcome.trial, outcome.evaluation
    total: Cell | None = cell(evaluation.answers) if evaluation else None
    scores = total.scores if total else None
    low, high = (scores["S_l"].interval or (None, None)) if scores else (None, None)
    means = [scores[part].mean if scores else None for part in ("S_l", "S_q", "S_bar")]
    return [
        trial.status, trial.exit_code, trial.reason, trial.seconds, evaluation.max_train_words if evaluation else None,
        total.median_words if total else None, total.max_words if total else None, means[0], low, high, *means[1:],
        total.n if total else None, scores["S_q"].n_unscored if scores and evaluation and evaluation.judge else None,
        outcome.long_share, outcome.dollars, outcome.gpu_hours, " ".join(node.id for node in outcome.runs),
    ]  # fmt: skip


def trials_csv(sweep: Sweep) -> str:
    """One line a trial, the failed ones included; an empty cell is unknown, not zero."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([csv_cell(name) for name in ("trial", *sweep.varied, *_COLUMNS)])
    for outcome in sweep.outcomes:
        own = [outcome.settings.get(key) for key in sweep.varied]
        writer.writerow([csv_cell(v) for v in (outcome.trial.number + 1, *own, *_values(outcome))])
    return out.getvalue()


def sweep_markdown(sweep: Sweep, result: SweepResult | None) -> str:
    """Question, finding, and a table of all trials."""
    cellular = markdown_cell
    found = display.quoted(result.finding) if result else "No trial was evaluated, so the question stays open."
    head = [*sweep.names.values(), "status", "trained on up to", "median", "longest",
            "S_l", "S-bar", "cost", "GPU hours", "why it failed"]  # fmt: skip
    lines = [f"**{cellular(sweep.question or sweep.name, 400)}** {cellular(found, 900)}", ""]
    lines += ["| " + " | ".join(map(cellular, head)) + " |", "|" + ":--|" * len(head)]
    for outcome in sweep.outcomes:
        values = dict(zip(_COLUMNS, _values(outcome), strict=True))
        interval = None if values["S_l_low"] is None else (values["S_l_low"], values["S_l_high"])
        length = display.score(values["S_l"]) + (f" [{display.span(interval)}]" if interval else "")
        code = "" if outcome.trial.exit_code in (0, None) else f" (exit code {outcome.trial.exit_code})"
        cells = [
            *(cellular(outcome.settings.get(key, display.NO_VALUE), 60) for key in sweep.varied),
            cellular(outcome.trial.status + code), display.words(values["max_train_words"]),
            display.words(values["median_words"]), display.words(values["max_words"]), length,
            display.score(values["S_bar"]), display.dollars(outcome.dollars), display.hours(outcome.gpu_hours),
            cellular(outcome.trial.reason or "", 200),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
