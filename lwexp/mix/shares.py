"""What each source gives to a mixture, as numbers and as a table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Share:
    """One source's part. Words are those of the answers taken."""

    source: str
    available: int  # rows that could be read
    filtered: int  # of these, outside the word limits
    taken: int
    words_min: int
    words_median: float
    words_max: int
    share_of_rows: float  # 0..1
    share_of_words: float  # 0..1; the part of the loss, nearly, when it is averaged over tokens


def share_of(
    source: str, *, available: int, filtered: int, words: list[int], total_rows: int, total_words: int
) -> Share:
    """Describe one source. ``words`` has one number a row taken, and at least one."""
    return Share(
        source=source,
        available=available,
        filtered=filtered,
        taken=len(words),
        words_min=min(words),
        words_median=float(median(words)),
        words_max=max(words),
        share_of_rows=len(words) / total_rows,
        share_of_words=sum(words) / total_words if total_words else 0.0,
    )


def render(table: list[Share]) -> Table:
    """The table for a terminal."""
    from rich.box import SIMPLE
    from rich.table import Table

    out = Table(title="Mixture", title_justify="left", box=SIMPLE)
    out.add_column("source", overflow="fold")
    for name in ("readable", "filtered", "taken", "words min/median/max", "% rows", "% words"):
        out.add_column(name, justify="right")
    for row in table:
        out.add_row(
            row.source,
            *(f"{number:,}" for number in (row.available, row.filtered, row.taken)),
            f"{row.words_min:,} / {row.words_median:,.0f} / {row.words_max:,}",
            f"{100 * row.share_of_rows:.1f}",
            f"{100 * row.share_of_words:.1f}",
        )
    return out
