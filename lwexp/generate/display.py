"""The live line of a generation run: documents done and failed, dollars, time left."""

from __future__ import annotations

import sys

from lwexp.generate.export import Outcome
from lwexp.records import Failure


class Display:
    """Shows progress with rich, on a terminal only.

    Args:
        total: Documents in the run.
    """

    def __init__(self, total: int) -> None:
        self._failed = 0
        self._progress = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("documents"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"),
                TimeRemainingColumn(), console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._task = self._progress.add_task("", total=total, status="")

    def show(self, outcome: Outcome, spent_usd: float) -> None:
        """Count one finished document."""
        self._failed += isinstance(outcome, Failure)
        if self._progress is not None:
            status = f"{self._failed:,} failed, ${spent_usd:,.2f}"
            self._progress.update(self._task, advance=1, status=status)

    def __enter__(self) -> Display:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
