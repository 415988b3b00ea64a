"""The same numbers for other programs and for the terminal: summary.json, a CSV, a Markdown table, a rich one."""

from collections.abc import Sequence
from typing import Any

from lwexp.pages.display import quoted, score, span, words
from lwexp.records import MetricInfo
from lwexp.report.evaluations import all_metrics
from lwexp.report.findings import Row
from lwexp.report.tables import Cell, Score, seeds
from lwexp.report.view import GroupView
from lwexp.text.cells import csv_table, markdown_cell, markdown_table
from lwexp.text.plain import visible

Tree = dict[str, Any]
# Top-level keys of summary.json that a model's name must not take.
_RESERVED = ("models", "seeds", "judge", "bench", "checks", "headline", "notes")


def summary(views: Sequence[GroupView], notes: Sequence[str]) -> Tree:
    """Everything the first screen says, by model name.

    The models of the first group also stand at the top level, so that ``summary["long"]["S_l"]`` works;
    models of further groups stand under ``groups`` alone.
    """
    groups = [_group_summary(view) for view in views]
    first = groups[0]
    found: Tree = {
        **{label: values for label, values in first["models"].items() if label not in _RESERVED},
        **first,
        "headline": quoted(views[0].findings.headline),
        "notes": list(notes),
    }
    return {**found, "groups": groups} if len(groups) > 1 else found


def _group_summary(view: GroupView) -> Tree:
    checks = {
        check.key: {
            "holds": check.holds,
            "expected": quoted(check.expected),
            "measured": quoted(check.measured),
            **check.values,
        }
        for check in view.findings.checks
    }
    models = {row.label: _model_summary(view, row) for row in view.rows}
    group = {"seeds": view.seeds, "judge": view.group.judge, "bench": view.group.bench}
    return {"models": models, **group, "checks": checks}


def _model_summary(view: GroupView, row: Row) -> Tree:
    """One model's numbers; None where there is no score, which is not zero."""
    total = row.total
    scores = {metric.name: total.scores[metric.name] for metric in view.metrics}
    found: Tree = {
        "max_words": total.max_words,
        **{name: value.mean for name, value in scores.items()},
        "n": total.n,
        "n_prompts": total.n_prompts,
        "n_unscored": view.n_unscored(total),
        "n_empty": total.n_empty,
        "n_cut": total.n_cut,
        "median_words": total.median_words,
        "max_train_words": row.evaluation.max_train_words,
        "seeds": seeds(row.evaluation.answers),
        "run": row.evaluation.node.id,
    }
    for name, value in scores.items():
        found[f"{name}_interval"] = list(value.interval) if value.interval else None
        found[f"{name}_by_seed"] = list(value.by_repeat)
    return found


def score_columns(metrics: Sequence[MetricInfo]) -> list[str]:
    """Mean and both ends of the interval of each metric."""
    return [f"{metric.name}{end}" for metric in metrics for end in ("", "_low", "_high")]


def score_values(metrics: Sequence[MetricInfo], cell: Cell | None) -> list[float | None]:
    """What stands in ``score_columns``."""
    scores = [cell.scores[metric.name] if cell else None for metric in metrics]
    return [value for s in scores for value in (s.mean if s else None, *((s.interval if s else None) or (None, None)))]


def as_csv(views: Sequence[GroupView]) -> str:
    """One line for each model and part of the bench: all, each range, each language, each type of prompt."""
    metrics = all_metrics(row.evaluation for view in views for row in view.rows)
    head = [
        "bench", "judge", "model", "part", "prompts", "answers", "empty", "cut", *score_columns(metrics),
        "unscored", "median_words", "max_words", "max_train_words", "run",
    ]  # fmt: skip
    lines: list[list[object]] = []
    for view, row in [(each, row) for each in views for row in each.rows]:
        types = {f"type {name}": part for name, part in row.evaluation.by_type.items()}
        parts = {"all": row.total, **row.evaluation.by_range, **row.evaluation.by_language, **types}
        for name, part in parts.items():
            rounded = [None if value is None else round(value, 4) for value in score_values(metrics, part)]
            lines.append(
                [view.group.bench, row.evaluation.judge, row.label, name, part.n_prompts, part.n, part.n_empty,
                 part.n_cut, *rounded, view.n_unscored(part), part.median_words, part.max_words,
                 row.evaluation.max_train_words, row.evaluation.node.id]
            )  # fmt: skip
    return csv_table(head, lines)


def as_markdown(views: Sequence[GroupView]) -> str:
    """The overall table of each group with intervals, for a README or an issue."""
    blocks = []
    for view in views:
        head = ["model", "trained on up to", "longest answer", *(m.label for m in view.metrics), "answers", "unscored"]
        finding = markdown_cell(quoted(view.findings.headline), 600)
        rows = [
            [
                markdown_cell(row.label), words(row.evaluation.max_train_words), words(row.total.max_words),
                *(with_span(row.total.scores[m.name], m) for m in view.metrics), f"{row.total.n:,}",
                "not judged" if (unscored := view.unscored(row.total)) is None else f"{unscored:,}",
            ]
            for row in view.rows
        ]  # fmt: skip
        table = markdown_table(map(markdown_cell, head), rows, align="l" + "r" * len(head))
        blocks.append(f"**{markdown_cell(view.group.bench)}**, {markdown_cell(view.judge_label)}. {finding}\n\n{table}")
    footer = "Brackets: 95% bootstrap intervals over prompts. Unscored answers enter no mean."
    return "\n\n".join([*blocks, footer]) + "\n"


def with_span(value: Score, metric: MetricInfo) -> str:
    """``61.2 [58.1 to 66.0]``."""
    mean = score(value.mean, metric.decimals)
    return f"{mean} [{span(value.interval, metric.decimals)}]" if value.interval else mean


def print_tables(views: Sequence[GroupView]) -> None:
    """Print one table a group: longest answer, scores with intervals, answers and unscored."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for view in views:
        table = Table(
            title=Text(f"{view.group.bench}, {view.judge_label}"), title_justify="left", title_style="bold",
            caption="cap: longest answer in training. Below each score: its 95% interval over prompts.",
            caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False,
        )  # fmt: skip
        table.add_column("model", overflow="fold", min_width=min(14, max(len(row.label) for row in view.rows)))
        for heading in ("cap", "longest", *(metric.label for metric in view.metrics), "answers\n(unscored)"):
            table.add_column(visible(heading), justify="right", no_wrap=True)
        for row in view.rows:
            unscored = view.unscored(row.total)
            # One below the other and with a hyphen: seven columns and two intervals fit into 80 characters.
            scores = [with_span(row.total.scores[metric.name], metric) for metric in view.metrics]
            scores = [text.replace(" [", "\n").rstrip("]").replace(" to ", "-") for text in scores]
            cells = [
                visible(row.label), words(row.evaluation.max_train_words), words(row.total.max_words), *scores,
                f"{row.total.n:,}" + ("" if unscored is None else f"\n({unscored:,})"),
            ]  # fmt: skip
            # Text, not str: rich would read square brackets in a name as markup.
            table.add_row(*(Text(text) for text in cells))
        console.print(table)
        console.print(Text(quoted(view.findings.headline)))
