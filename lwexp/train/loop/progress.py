"""Progress on a terminal, and silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track

from lwexp.runs.ranks import is_rank_zero


def track_packs(packs: Sequence[int], what: str) -> Iterable[int]:
    """Iterate with a bar."""
    return track(packs, what, console=_console(), transient=True, disable=not _is_watched())


class StepBar:
    """A bar over optimiser steps with rate, time left and the newest loss."""

    def __init__(self, total: int, done: int) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[loss]}"),
            console=_console(),
            transient=True,
            disable=not _is_watched(),
        )
        self._task = self._progress.add_task("training", total=total, completed=done, rate="", loss="")

    def start(self) -> None:
        """Show it."""
        self._progress.start()

    def advance(self, loss: float) -> None:
        """One step more."""
        speed = self._progress.tasks[0].speed
        rate = f"{speed:.2f} steps/s" if speed else ""
        self._progress.update(self._task, advance=1, rate=rate, loss=f"loss {loss:.4f}")

    def stop(self) -> None:
        """Take it away."""
        self._progress.stop()


def _console() -> Console:
    return Console(stderr=True)


def _is_watched() -> bool:
    return is_rank_zero() and _console().is_terminal
