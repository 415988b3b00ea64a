"""What the page, the Markdown, the CSV and summary.json show of a sweep's trials."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from lwexp.pages.display import NO_VALUE, dollars, hours, plural, quoted, words
from lwexp.pages.drawing import with_own_ids
from lwexp.records import MetricInfo
from lwexp.report.evaluations import known_sum
from lwexp.report.report_tables import score_columns, score_values, with_span
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.sweep_figure import sweep_figure
from lwexp.report.sweep.trials import Outcome, Sweep
from lwexp.report.tables import Scores
from lwexp.text.cells import csv_table, markdown_cell, markdown_table
from lwexp.text.plain import one_line

Tree = dict[str, Any]


def sweep_context(sweep: Sweep, result: SweepResult | None, places: Mapping[str, int]) -> Tree:
    """For the template: the question's answer, and a row for every trial."""
    counts = Counter(outcome.trial.status for outcome in sweep.outcomes)
    tally = " + ".join(f"{n} {status}" for status, n in counts.items())
    return {
        "sweep": sweep,
        "result": result,
        "metrics": sweep.metrics,
        "figure": with_own_ids([sweep_figure(result, places)], "q")[0] if result else None,
        "rows": [
            {
                "outcome": outcome,
                "reason": one_line(outcome.trial.reason or "", 300),
                "place": places.get(outcome.evaluation.label) if outcome.evaluation else None,
            }
            for outcome in sweep.outcomes
        ],
        "tally": f"{plural(len(sweep.outcomes), 'trial')} = {tally}",
        "has_failed": any(outcome.trial.status != "finished" for outcome in sweep.outcomes),
        "dollars": known_sum(outcome.dollars for outcome in sweep.outcomes),
        "gpu_hours": known_sum(outcome.gpu_hours for outcome in sweep.outcomes),
    }


def sweep_summary(sweep: Sweep, result: SweepResult | None) -> Tree:
    """For summary.json: question, finding, fit and every trial."""
    return {
        "name": sweep.name,
        "question": sweep.question,
        "finding": quoted(result.finding) if result else None,
        "fit": result.fit._asdict() if result and result.fit else None,
        "trials": [{**outcome.settings, **_values(sweep.metrics, outcome)} for outcome in sweep.outcomes],
    }


def _values(metrics: tuple[MetricInfo, ...], outcome: Outcome) -> Tree:
    trial, evaluation, total = outcome.trial, outcome.evaluation, outcome.total
    return {
        "status": trial.status, "exit_code": trial.exit_code, "reason": trial.reason, "seconds": trial.seconds,
        "max_train_words": evaluation.max_train_words if evaluation else None,
        "median_words": total.median_words if total else None, "max_words": total.max_words if total else None,
        **dict(zip(score_columns(metrics), score_values(metrics, total), strict=True)),
        "answers": total.n if total else None, "unscored": outcome.unscored, "long_share": outcome.long_share,
        "dollars": outcome.dollars, "gpu_hours": outcome.gpu_hours, "runs": " ".join(node.id for node in outcome.runs),
    }  # fmt: skip


def trials_csv(sweep: Sweep) -> str:
    """One line a trial, the failed ones included; an empty cell is unknown, not zero."""
    rows = [_values(sweep.metrics, outcome) for outcome in sweep.outcomes]
    lines = [
        [outcome.trial.number + 1, *(outcome.settings.get(key) for key in sweep.varied), *row.values()]
        for outcome, row in zip(sweep.outcomes, rows, strict=True)
    ]
    return csv_table(["trial", *sweep.varied, *rows[0]], lines)


def sweep_markdown(sweep: Sweep, result: SweepResult | None) -> str:
    """Question, finding, and a table of all trials."""
    found = quoted(result.finding) if result else "No trial was evaluated, so the question stays open."
    labels = [metric.label for metric in sweep.metrics]
    head = [*sweep.names.values(), "status", "trained on up to", "median", "longest", *labels, "cost", "GPU hours",
            "why it failed"]  # fmt: skip
    rows = []
    for outcome in sweep.outcomes:
        total, trial, evaluation = outcome.total, outcome.trial, outcome.evaluation
        scores = total.scores if total else Scores()
        code = "" if trial.exit_code in (0, None) else f" (exit code {trial.exit_code})"
        rows.append(
            [
                *(markdown_cell(outcome.settings.get(key, NO_VALUE), 60) for key in sweep.varied),
                markdown_cell(trial.status + code), words(evaluation.max_train_words if evaluation else None),
                words(total.median_words if total else None), words(total.max_words if total else None),
                *(with_span(scores[metric.name], metric) for metric in sweep.metrics),
                dollars(outcome.dollars), hours(outcome.gpu_hours), markdown_cell(trial.reason or "", 200),
            ]
        )  # fmt: skip
    title = f"**{markdown_cell(sweep.question or sweep.name, 400)}** {markdown_cell(found, 900)}"
    return f"{title}\n\n{markdown_table(map(markdown_cell, head), rows)}\n"
