"""What the Markdown, the CSV and summary.json show of a sweep's trials."""

from lwexp.pages.display import NO_VALUE, dollars, hours, quoted, words
from lwexp.report.aggregation import Scores
from lwexp.report.report_tables import score_columns, with_span
from lwexp.report.sweep.read_sweep import Outcome, Sweep
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.runs.artifacts import Tree
from lwexp.text.cells import csv_table, markdown_cell, markdown_table


def sweep_summary(sweep: Sweep, result: SweepResult | None) -> Tree:
    """For summary.json: question, finding, fit and every trial."""
    return {
        "name": sweep.name,
        "question": sweep.question,
        "finding": quoted(result.finding) if result else None,
        "fit": result.fit._asdict() if result and result.fit else None,
        "trials": [{**outcome.settings, **_values(sweep, outcome)} for outcome in sweep.outcomes],
    }


def _values(sweep: Sweep, outcome: Outcome) -> Tree:
    trial, total = outcome.trial, outcome.total
    return {
        "status": trial.status, "exit_code": trial.exit_code, "reason": trial.reason, "seconds": trial.seconds,
        "max_train_words": outcome.max_train_words,
        "median_words": total.median_words if total else None, "max_words": total.max_words if total else None,
        **score_columns(sweep.metrics, total),
        "answers": total.n if total else None, "missing": total.n_missing if total else None,
        "unscored": outcome.unscored, "long_share": outcome.long_share, "dollars": outcome.dollars,
        "gpu_hours": outcome.gpu_hours, "runs": " ".join(node.id for node in outcome.runs),
    }  # fmt: skip


def trials_csv(sweep: Sweep) -> str:
    """One line per trial, including failed ones; an empty cell means unknown, not zero."""
    rows = [_values(sweep, outcome) for outcome in sweep.outcomes]
    lines = [
        [outcome.trial.number + 1, *(outcome.settings.get(key) for key in sweep.varied), *row.values()]
        for outcome, row in zip(sweep.outcomes, rows, strict=True)
    ]
    return csv_table(["trial", *sweep.varied, *rows[0]], lines)


def sweep_markdown(sweep: Sweep, result: SweepResult | None) -> str:
    """Question, finding, and a table of all trials."""
    found = quoted(result.finding) if result else "No trial was evaluated, so the question remains open."
    title = f"**{markdown_cell(sweep.question or sweep.name, 400)}** {markdown_cell(found, 900)}"
    return f"{title}\n\n{trials_table(sweep)}\n"


def trials_table(sweep: Sweep) -> str:
    """Every trial in Markdown."""
    head = [*sweep.names.values(), "status", "trained on up to", "median", "longest",
            *(metric.label for metric in sweep.metrics), "cost", "GPU hours", "why it failed"]  # fmt: skip
    rows = []
    for outcome in sweep.outcomes:
        total, trial = outcome.total, outcome.trial
        scores = total.scores if total else Scores()
        code = "" if trial.exit_code in (0, None) else f" (exit code {trial.exit_code})"
        rows.append(
            [
                *(markdown_cell(outcome.settings.get(key, NO_VALUE), 60) for key in sweep.varied),
                markdown_cell(trial.status + code), words(outcome.max_train_words),
                words(total.median_words if total else None), words(total.max_words if total else None),
                *(with_span(scores[metric.name], metric) for metric in sweep.metrics),
                dollars(outcome.dollars), hours(outcome.gpu_hours), markdown_cell(trial.reason or "", 200),
            ]
        )  # fmt: skip
    return markdown_table(map(markdown_cell, head), rows)
