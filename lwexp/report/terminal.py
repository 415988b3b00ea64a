"""The final table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lwexp.pages.display import quoted, score, span, words
from lwexp.report.tables import Score
from lwexp.report.view import GroupView
from lwexp.text.plain import visible


def show(views: Sequence[GroupView]) -> None:
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
        for heading in ("cap", "longest", "S_l", "S_q", "S-bar", "answers\n(unscored)"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in view.rows:
            unscored = f"\n({row.total.scores['S_q'].n_unscored:,})" if view.group.judge is not None else ""
            cells = [
                visible(row.label), words(row.evaluation.max_train_words), words(row.total.max_words),
                *(_cell(row.total.scores[part]) for part in ("S_l", "S_q", "S_bar")),
                f"{row.total.n:,}{unscored}",
            ]  # fmt: skip
            # Text, not str: rich would read square brackets in a name as markup.
            table.add_row(*(Text(text) for text in cells))
        console.print(table)
        console.print(Text(quoted(view.findings.headline)))


def _cell(value: Score) -> str:
    # A hyphen instead of "to": seven columns and two intervals fit into 80 characters.
    return f"{score(value.mean)}\n{span(value.interval).replace(' to ', '-')}" if value.interval else score(value.mean)
