"""Many sources, explicit counts, one seeded order.

A row is drawn by the hash of (seed, source, row id), smallest first. So the draw and the order do not change
when another source is added or a file grows at its end, and a larger count takes the same rows and more.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple

from lwexp.extend.source import AnySource, DataSource
from lwexp.extend.training_rows import R, TrainingRows
from lwexp.mix.resolve import Resolved, read_source, resolve_mixture
from lwexp.mix.shares import Share, render, share_of
from lwexp.records import Failure, LwexpError, Tally, tally

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Mixture", "Resolved", "resolve_mixture", "take"]

log = logging.getLogger(__name__)

_WORD_LIMITS = ("too_short", "too_long")


@dataclass(frozen=True)
class Mixture(Generic[R]):
    """Rows drawn from all sources, in their seeded order. The table counts words of the answers trained towards."""

    rows: Sequence[R]
    table: list[Share]
    tally: Tally
    failures: list[Failure]

    def render(self) -> Table:
        """The table of sources, for a terminal."""
        return render(self.table)


def take(resolved: Sequence[Resolved], seed: int, kind: TrainingRows[R]) -> Mixture[R]:
    """Read the sources, draw the counts asked for, and mix.

    Args:
        resolved: From ``resolve_mixture``.
        seed: Of the run.
        kind: Which rows the objective takes. ``min_words`` and ``max_words`` bound the answer trained towards.

    Raises:
        LwexpError: If a source has fewer rows than its count, or a broken row where ``on_bad_row`` is error.
    """
    return _mix([_draw(item, read_source(item, kind), seed, kind) for item in resolved], kind)


class _Place(NamedTuple, Generic[R]):
    """A row and its place in the seeded order."""

    hash: int
    id: str
    row: R


@dataclass
class _Drawn(Generic[R]):
    """What came of one source."""

    item: Resolved
    available: int = 0  # rows that could be read
    losses: list[str] = field(default_factory=list)  # a reason for every row that was not taken
    failures: list[Failure] = field(default_factory=list)
    taken: list[_Place[R]] = field(default_factory=list)

    @property
    def filtered(self) -> int:
        """Readable rows outside the word limits."""
        return sum(reason in _WORD_LIMITS for reason in self.losses)


def _draw(item: Resolved, rows: Iterable[R | Failure], seed: int, kind: TrainingRows[R]) -> _Drawn[R]:
    drawn: _Drawn[R] = _Drawn(item)
    count = item.source.count
    passing = _passing(drawn, rows, seed, kind)
    if count is None:
        drawn.taken = sorted(passing, key=_order)
    else:  # a heap of ``count`` rows: the rest of a large set is never held in memory
        drawn.taken = heapq.nsmallest(count, passing, key=_order)
    fitting = drawn.available - drawn.filtered
    if len(drawn.taken) < (count or 1):
        raise LwexpError(_too_few(drawn, fitting))
    drawn.losses += ["not_drawn"] * (fitting - len(drawn.taken))
    return drawn


def _passing(drawn: _Drawn[R], rows: Iterable[R | Failure], seed: int, kind: TrainingRows[R]) -> Iterator[_Place[R]]:
    """Rows that may be drawn, each with its place; the others are noted in ``drawn``."""
    source, key = drawn.item.source, drawn.item.key
    for row in rows:
        if isinstance(row, Failure):
            if getattr(source, "on_bad_row", "error") == "error":
                raise LwexpError(f"{key}: {row.detail}; mend the row, or set {key}.on_bad_row=skip")
            drawn.failures.append(row)
            drawn.losses.append("broken")
            continue
        drawn.available += 1
        reason = _outside(kind.answer_words(row)[0], source)
        if reason is None:
            digest = hashlib.blake2b(f"{seed}|{drawn.item.name}|{row.id}".encode(), digest_size=8)
            yield _Place(int.from_bytes(digest.digest(), "big"), row.id, row)
        else:
            drawn.losses.append(reason)


def _order(place: _Place[R]) -> tuple[int, str]:
    return place.hash, place.id


def _outside(words: int, source: AnySource) -> str | None:
    """Which word limit of a source leaves a row out, or None."""
    if not isinstance(source, DataSource):
        return None
    if source.min_words is not None and words < source.min_words:
        return "too_short"
    if source.max_words is not None and words > source.max_words:
        return "too_long"
    return None


def _too_few(drawn: _Drawn[R], fitting: int) -> str:
    item = drawn.item
    read = drawn.available + len(drawn.failures)
    asked = "at least one row" if item.source.count is None else f"count={item.source.count:,}"
    first = f"; first broken row: {drawn.failures[0].detail}" if drawn.failures else ""
    return (
        f"{item.key}: wanted {asked}, but only {fitting:,} of {read:,} rows in {item.path} can be drawn "
        f"({len(drawn.failures):,} broken, {drawn.filtered:,} outside the word limits); "
        f"lower {item.key}.count or widen the source{first}"
    )


def _mix(parts: list[_Drawn[R]], kind: TrainingRows[R]) -> Mixture[R]:
    """Put the sources together in the seeded order, and add up what became of every row."""
    places = sorted((place for part in parts for place in part.taken), key=_order)
    words = [[kind.answer_words(place.row)[0] for place in part.taken] for part in parts]
    table = [
        share_of(
            part.item.name,
            available=part.available,
            filtered=part.filtered,
            words=own,
            total_rows=len(places),
            total_words=sum(map(sum, words)),
        )
        for part, own in zip(parts, words, strict=True)
    ]
    losses = [reason for part in parts for reason in part.losses]
    counts = tally(len(places) + len(losses), len(places), losses)
    log.info("mixture: %s", counts)
    failures = [failure for part in parts for failure in part.failures]
    return Mixture(kind.arrange([place.row for place in places]), table, counts, failures)
