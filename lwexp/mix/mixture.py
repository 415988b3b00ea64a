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
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from lwexp.extend.source import AnySource, DataSource
from lwexp.mix.resolve import Resolved, read_conversations, read_pairs, resolve_mixture
from lwexp.mix.shares import Share, render, share_of
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair, Tally, tally

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Mixture", "PairMixture", "Resolved", "resolve_mixture", "take", "take_pairs"]

log = logging.getLogger(__name__)

RowT = TypeVar("RowT", Conversation, PreferencePair)
_WORD_LIMITS = ("too_short", "too_long")


@dataclass(frozen=True)
class Mixture:
    """Conversations drawn from all sources, in their seeded order."""

    conversations: list[Conversation]
    table: list[Share]
    tally: Tally
    failures: list[Failure]

    def render(self) -> Table:
        """The table of sources, for a terminal."""
        return render(self.table)


@dataclass(frozen=True)
class PairMixture:
    """Preference pairs drawn from all sources, in their seeded order. The table counts chosen words."""

    pairs: list[PreferencePair]
    table: list[Share]
    tally: Tally
    failures: list[Failure]

    def render(self) -> Table:
        """The table of sources, for a terminal."""
        return render(self.table)


def take(resolved: Sequence[Resolved], seed: int) -> Mixture:
    """Read the sources, draw the counts asked for, and mix.

    ``min_words`` and ``max_words`` bound a conversation's longest answer.

    Raises:
        LwexpError: If a source has fewer rows than its count, or a broken row where ``on_bad_row`` is error.
    """
    return Mixture(*_mix([_draw(item, read_conversations(item), seed) for item in resolved]))


def take_pairs(resolved: Sequence[Resolved], seed: int) -> PairMixture:
    """Like ``take``, for preference pairs."""
    return PairMixture(*_mix([_draw(item, read_pairs(item), seed) for item in resolved]))


class _Place(NamedTuple, Generic[RowT]):
    """A row and its place in the seeded order."""

    hash: int
    id: str
    row: RowT


@dataclass
class _Drawn(Generic[RowT]):
    """What came of one source."""

    item: Resolved
    available: int = 0  # rows that could be read
    losses: list[str] = field(default_factory=list)  # a reason for every row that was not taken
    failures: list[Failure] = field(default_factory=list)
    taken: list[_Place[RowT]] = field(default_factory=list)

    @property
    def filtered(self) -> int:
        """Readable rows outside the word limits."""
        return sum(reason in _WORD_LIMITS for reason in self.losses)


def _draw(item: Resolved, rows: Iterable[RowT | Failure], seed: int) -> _Drawn[RowT]:
    drawn: _Drawn[RowT] = _Drawn(item)
    count = item.source.count
    passing = _passing(drawn, rows, seed)
    if count is None:
        drawn.taken = sorted(passing, key=_order)
    else:  # a heap of ``count`` rows: the rest of a large set is never held in memory
        drawn.taken = heapq.nsmallest(count, passing, key=_order)
    fitting = drawn.available - drawn.filtered
    if len(drawn.taken) < (count or 1):
        raise LwexpError(_too_few(drawn, fitting))
    drawn.losses += ["not_drawn"] * (fitting - len(drawn.taken))
    return drawn


def _passing(drawn: _Drawn[RowT], rows: Iterable[RowT | Failure], seed: int) -> Iterator[_Place[RowT]]:
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
        reason = _outside(row, source)
        if reason is None:
            digest = hashlib.blake2b(f"{seed}|{drawn.item.name}|{row.id}".encode(), digest_size=8)
            yield _Place(int.from_bytes(digest.digest(), "big"), row.id, row)
        else:
            drawn.losses.append(reason)


def _order(place: _Place[RowT]) -> tuple[int, str]:
    return place.hash, place.id


def _outside(row: Conversation | PreferencePair, source: AnySource) -> str | None:
    """Why the word limits of a source shut a row out, or None."""
    if not isinstance(source, DataSource):
        return None
    if source.min_words is not None and _words(row) < source.min_words:
        return "too_short"
    if source.max_words is not None and _words(row) > source.max_words:
        return "too_long"
    return None


def _too_few(drawn: _Drawn[RowT], fitting: int) -> str:
    item = drawn.item
    read = drawn.available + len(drawn.failures)
    asked = "at least one row" if item.source.count is None else f"count={item.source.count:,}"
    first = f"; first broken row: {drawn.failures[0].detail}" if drawn.failures else ""
    return (
        f"{item.key}: wanted {asked}, but only {fitting:,} of {read:,} rows in {item.path} can be drawn "
        f"({len(drawn.failures):,} broken, {drawn.filtered:,} outside the word limits); "
        f"lower {item.key}.count or widen the source{first}"
    )


class _Mixed(NamedTuple, Generic[RowT]):
    rows: list[RowT]
    table: list[Share]
    tally: Tally
    failures: list[Failure]


def _mix(parts: list[_Drawn[RowT]]) -> _Mixed[RowT]:
    """Put the sources together in the seeded order, and add up what became of every row."""
    places = sorted((place for part in parts for place in part.taken), key=_order)
    total_words = sum(_words(place.row) for place in places)
    table = [
        share_of(
            part.item.name,
            available=part.available,
            filtered=part.filtered,
            words=[_words(place.row) for place in part.taken],
            total_rows=len(places),
            total_words=total_words,
        )
        for part in parts
    ]
    losses = [reason for part in parts for reason in part.losses]
    counts = tally(len(places) + len(losses), len(places), losses)
    log.info("mixture: %s", counts)
    failures = [failure for part in parts for failure in part.failures]
    return _Mixed([place.row for place in places], table, counts, failures)


def _words(row: Conversation | PreferencePair) -> int:
    return row.actual_words if isinstance(row, Conversation) else row.chosen_words
