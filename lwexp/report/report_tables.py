"""The same numbers for other programs: summary.json, a CSV and a Markdown table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from lwexp.pages.display import quoted, score, span, words
from lwexp.report.findings import Row
from lwexp.report.tables import Cell, seeds
from lwexp.report.view import GroupView
from lwexp.text.cells import csv_cell, markdown_cell

Tree = dict[str, Any]
# Top-level keys of summary.json that a model's name must not take.
_RESERVED = ("models", "seeds", "judge", "bench", "checks", "headline", "notes")
_COLUMNS = (
    "bench", "judge", "model", "part", "prompts", "answers", "empty", "cut",
    "S_l", "S_l_low", "S_l_high", "S_q", "S_q_low", "S_q_high", "S_bar", "S_bar_low", "S_bar_high",
    "unscored", "median_words", "max_words", "max_train_words", "run",
)  # fmt: skip


def summary(views: Sequence[GroupView], notes: Sequence[str]) -> Tree:
    """Everything the first screen says, by model name.

    The models of the first group also stand at the top level, so that ``summary["long"]["S_l"]`` works;
    models of further groups stand under ``groups`` alone.
    """
    first = views[0]
    models = {row.label: model_summary(row) for row in first.rows}
    found: Tree = {
        **{label: values for label, values in models.items() if label not in _RESERVED},
        "models": models,
        **_group_summary(first),
        "headline": quoted(first.findings.headline),
        "notes": list(notes),
    }
    if len(views) > 1:
        found["groups"] = [
            {**_group_summary(view), "models": {row.label: model_summary(row) for row in view.rows}} for view in views
        ]
    return found


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
    return {"seeds": view.seeds, "judge": view.group.judge, "bench": view.group.bench, "checks": checks}


def model_summary(row: Row) -> Tree:
    """One model's numbers; None where there is no score, which is not zero."""
    total = row.total
    found: Tree = {
        "max_words": total.max_words,
        **{part: value.mean for part, value in total.scores.items()},
        "n": total.n,
        "n_prompts": total.n_prompts,
        "n_unscored": total.scores["S_q"].n_unscored,
        "n_empty": total.n_empty,
        "n_cut": total.n_cut,
        "median_words": total.median_words,
        "max_train_words": row.evaluation.max_train_words,
        "seeds": seeds(row.evaluation.answers),
        "run": row.evaluation.node.id,
    }
    for part, value in total.scores.items():
        found[f"{part}_interval"] = list(value.interval) if value.interval else None
        found[f"{part}_by_seed"] = list(value.by_repeat)
    return found


def as_csv(views: Sequence[GroupView]) -> str:
    """One line for each model and part of the bench: all, each range, each language, each type of prompt."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for view in views:
        for row in view.rows:
            types = {f"type {name}": part for name, part in view.types[row.label].items()}
            parts = {"all": row.total, **view.ranges[row.label], **view.languages[row.label], **types}
            for name, part in parts.items():
                writer.writerow([csv_cell(value) for value in _csv_row(view, row, name, part)])
    return out.getvalue()


def _csv_row(view: GroupView, row: Row, name: str, part: Cell) -> list[object]:
    scores: list[object] = []
    for metric in view.group.metrics:
        value = part.scores[metric.name]
        low, high = value.interval or (None, None)
        scores += [_rounded(value.mean), _rounded(low), _rounded(high)]
    return [
        view.group.bench, row.evaluation.judge, row.label, name, part.n_prompts, part.n, part.n_empty, part.n_cut,
        *scores, part.scores["S_q"].n_unscored, part.median_words, part.max_words,
        row.evaluation.max_train_words, row.evaluation.node.id,
    ]  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def as_markdown(views: Sequence[GroupView]) -> str:
    """The overall table of each group with intervals, for a README or an issue."""
    blocks = []
    for view in views:
        judge = markdown_cell(view.judge_label)
        head = ["model", "trained on up to", "longest answer", "S_l", "S_q", "S-bar", "answers", "unscored"]
        lines = [
            f"**{markdown_cell(view.group.bench)}**, {judge}. {markdown_cell(quoted(view.findings.headline), 600)}",
            "",
        ]
        lines += ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
        for row in view.rows:
            found = [row.total.scores[metric.name] for metric in view.group.metrics]
            scores = [_with_span(value.mean, value.interval) for value in found]
            cells = [
                markdown_cell(row.label), words(row.evaluation.max_train_words), words(row.total.max_words), *scores,
                f"{row.total.n:,}", f"{row.total.scores['S_q'].n_unscored:,}" if view.group.judge else "not judged",
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    footer = "Brackets: 95% bootstrap intervals over prompts. Unscored answers enter no mean."
    return "\n\n".join([*blocks, footer]) + "\n"


def _with_span(mean: float | None, interval: Sequence[float] | None) -> str:
    return f"{score(mean)} [{span(interval)}]" if interval else score(mean)
