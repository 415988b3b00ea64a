"""Draws an explicit count of rows from each source and puts them in one seeded order.

A row is drawn by the hash of (seed, source, row id), smallest first. So the draw and the order do not change
when another source is added or a file grows at its end, and a larger count draws the same rows plus more.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, Generic

from lwexp.extend.source import DataSource
from lwexp.extend.training_rows import R, TrainingRows
from lwexp.mix.resolve import Resolved, read_source
from lwexp.records import Failure, LwexpError, Tally, tally
from lwexp.runs.summaries import MixtureRow

if TYPE_CHECKING:
    from rich.table import Table

log = logging.getLogger(__name__)

_ORDER = itemgetter(0, 1)  # of (hash, id, row)


@dataclass(frozen=True)
class Mixture(Generic[R]):
    """Rows drawn from all sources, in their seeded order. Word counts are of the target answers."""

    rows: Sequence[R]
    table: list[MixtureRow]
    tally: Tally
    failures: list[Failure]

    def render(self) -> Table:
        """The table of sources, for a terminal."""
        from rich.box import SIMPLE
        from rich.table import Table

        out = Table(title="Mixture", title_justify="left", box=SIMPLE)
        out.add_column("source", overflow="fold")
        for name in ("readable", "filtered", "taken", "words min/median/max", "% rows", "% words"):
            out.add_column(name, justify="right")
        for row in self.table:
            out.add_row(
                row.source,
                *(f"{number:,}" for number in (row.available, row.filtered, row.taken)),
                f"{row.words_min:,} / {row.words_median:,.0f} / {row.words_max:,}",
                *(f"{100 * share:.1f}" for share in (row.share_of_rows, row.share_of_words)),
            )
        return out


def take(resolved: Sequence[Resolved], seed: int, kind: TrainingRows[R]) -> Mixture[R]:
    """Read the sources, draw the counts asked for, and mix.

    Args:
        resolved: From ``resolve_mixture``.
        seed: The run's seed.
        kind: Which rows the objective trains on. ``min_words`` and ``max_words`` limit the target answer (a pair's
            chosen one).

    Raises:
        LwexpError: If a source has fewer rows than its count, or a broken row where ``on_bad_row`` is error.
    """
    parts = [_draw(item, read_source(item, kind), seed, kind) for item in resolved]
    taken = sorted((place for part in parts for place in part.taken), key=_ORDER)
    words = [[kind.answer_words(row)[0] for _, _, row in part.taken] for part in parts]
    all_words = sum(map(sum, words))
    table = [
        MixtureRow(
            source=part.item.name,
            available=part.passing + part.filtered,
            filtered=part.filtered,
            taken=len(own),
            words_min=min(own),
            words_median=float(median(own)),
            words_max=max(own),
            share_of_rows=len(own) / len(taken),
            share_of_words=sum(own) / all_words if all_words else 0.0,
        )
        for part, own in zip(parts, words, strict=True)
    ]
    lost = sum((part.lost for part in parts), Counter[str]())
    counts = tally(len(taken) + lost.total(), len(taken), lost.elements())
    log.info("mixture: %s", counts)
    failures = [failure for part in parts for failure in part.failures]
    return Mixture(kind.arrange([row for _, _, row in taken]), table, counts, failures)


@dataclass
class _Drawn(Generic[R]):
    """The rows drawn from one source, each as (hash, id, row), and why other rows were not drawn."""

    item: Resolved
    taken: list[tuple[int, str, R]] = field(default_factory=list)
    passing: int = 0  # rows that can be drawn
    lost: Counter[str] = field(default_factory=Counter)  # reason -> rows that were not taken
    failures: list[Failure] = field(default_factory=list)

    @property
    def filtered(self) -> int:
        """Readable rows outside the word limits."""
        return self.lost["too_short"] + self.lost["too_long"]


def _draw(item: Resolved, rows: Iterable[R | Failure], seed: int, kind: TrainingRows[R]) -> _Drawn[R]:
    drawn: _Drawn[R] = _Drawn(item)
    count = item.source.count
    places = _places(drawn, rows, seed, kind)
    # With a count, a heap holds only that many rows, so the rest of a large set is never in memory.
    drawn.taken = sorted(places, key=_ORDER) if count is None else heapq.nsmallest(count, places, key=_ORDER)
    if len(drawn.taken) < (count or 1):
        raise LwexpError(_too_few(drawn))
    drawn.lost["not_drawn"] = drawn.passing - len(drawn.taken)
    return drawn


def _places(
    drawn: _Drawn[R], rows: Iterable[R | Failure], seed: int, kind: TrainingRows[R]
) -> Iterator[tuple[int, str, R]]:
    """Yield the rows that can be drawn, each with its place in the seeded order; count the others in ``drawn``."""
    source, key = drawn.item.source, drawn.item.key
    least, most = (source.min_words, source.max_words) if isinstance(source, DataSource) else (None, None)
    for row in rows:
        if isinstance(row, Failure):
            if getattr(source, "on_bad_row", "error") == "error":
                raise LwexpError(f"{key}: {row.detail}; fix the row, or set {key}.on_bad_row=skip")
            drawn.failures.append(row)
            drawn.lost["broken"] += 1
            continue
        words = kind.answer_words(row)[0]
        if least is not None and words < least:
            drawn.lost["too_short"] += 1
        elif most is not None and words > most:
            drawn.lost["too_long"] += 1
        else:
            drawn.passing += 1
            digest = hashlib.blake2b(f"{seed}|{drawn.item.name}|{row.id}".encode(), digest_size=8)
            yield int.from_bytes(digest.digest(), "big"), row.id, row


def _too_few(drawn: _Drawn[R]) -> str:
    key, path, broken = drawn.item.key, drawn.item.found.path, drawn.failures
    read = drawn.passing + drawn.filtered + len(broken)
    if len(broken) == read and broken:
        return f"{key}: no row of {path} can be read ({read:,} in all); the first: {broken[0].detail}"
    if not read:
        return f"{key}: {path} holds no rows; give another file or folder"
    count = drawn.item.source.count
    wanted = "at least one row" if count is None else f"count={count:,}"
    fix = f"set {key}.count={drawn.passing} or less, or widen the source" if drawn.passing else "widen the word limits"
    first = f"; first broken row: {broken[0].detail}" if broken else ""
    return (
        f"{key}: wanted {wanted}, but only {drawn.passing:,} of {read:,} rows in {path} can be drawn "
        f"({len(broken):,} broken, {drawn.filtered:,} outside the word limits); {fix}{first}"
    )
