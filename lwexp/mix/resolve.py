"""The sources of a mixture: found first, then read as conversations or pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from lwexp.config import Config
from lwexp.extend.rows import RawRow
from lwexp.extend.source import AnySource, DataSource, Found, PairSource, RawPairSource, RawSource
from lwexp.extend.training_rows import R, TrainingRows
from lwexp.mix.parse import parse_conversations, parse_pairs, parse_rows
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair
from lwexp.runs import Run

C = TypeVar("C", Conversation, PreferencePair)


@dataclass(frozen=True)
class Resolved:
    """A source of the mixture, found."""

    name: str
    key: str  # its config key, for messages: "mixture.sources.<name>" or "mixture.pairs.<name>"
    source: AnySource
    found: Found

    @property
    def path(self) -> str:
        """A file, a folder, or a hub id."""
        return self.found.path

    @property
    def fingerprint(self) -> str:
        """sha256 of the content; for a hub id what ``datasets`` knows its content by."""
        return self.found.fingerprint

    @property
    def run(self) -> Run | None:
        """The run that wrote it, if one did."""
        return None if self.found.run is None else Run.load(self.found.run)


def resolve_mixture(config: Config) -> list[Resolved]:
    """Find what the objective trains on: ``mixture.sources``, or ``mixture.pairs`` if it takes preference pairs.

    Cheap: files are hashed, nothing is parsed. A source with count 0 is left out, and need not exist.

    Raises:
        LwexpError: If a file or run is missing, or no source is left.
    """
    section = config.objective.rows.section
    sources: dict[str, AnySource] = dict(getattr(config.mixture, section))
    keys = {name: f"mixture.{section}.{name}" for name in sources}
    found = [
        Resolved(name, keys[name], source, source.find(keys[name], Path(config.root)))
        for name, source in sources.items()
        if source.count != 0
    ]
    if not found:
        raise LwexpError(f"mixture.{section}: no source with a count above 0; choose a mixture that has one")
    return found


def read_source(item: Resolved, kind: TrainingRows[R]) -> Iterator[R | Failure]:
    """All rows of a source, of the kind that the objective takes; ``source`` of each is the mixture's name for it."""
    readers: dict[type, Any] = {Conversation: read_conversations, PreferencePair: read_pairs}
    if kind.row_type in readers:
        yield from readers[kind.row_type](item)
        return
    assert isinstance(item.source, DataSource | PairSource)
    # Rows of a run are finished records; their columns are read like those of a file.
    written = enumerate(item.source.rows(item.key, item.found), start=1)
    raw = (row if isinstance(row, RawRow) else RawRow(number, "row", row.model_dump()) for number, row in written)
    yield from parse_rows(raw, kind, origin=item.path, name=item.name)


def read_conversations(item: Resolved) -> Iterator[Conversation | Failure]:
    """All conversations of a source; the ``source`` column of each is the mixture's name for it."""
    source = item.source
    assert isinstance(source, DataSource)
    if isinstance(source, RawSource):
        raw = source.rows(item.key, item.found)
        yield from _renamed(parse_conversations(raw, origin=item.path, name=item.name, format=source.format), item.name)
    else:
        yield from _renamed(cast("Iterator[Conversation]", source.rows(item.key, item.found)), item.name)


def read_pairs(item: Resolved) -> Iterator[PreferencePair | Failure]:
    """All preference pairs of a source; the ``source`` column of each is the mixture's name for it."""
    source = item.source
    assert isinstance(source, PairSource)
    if isinstance(source, RawPairSource):
        raw = source.rows(item.key, item.found)
        yield from _renamed(parse_pairs(raw, origin=item.path, name=item.name, format=source.format), item.name)
    else:
        yield from _renamed(cast("Iterator[PreferencePair]", source.rows(item.key, item.found)), item.name)


def _renamed(rows: Iterator[C] | Iterator[C | Failure], source: str) -> Iterator[C | Failure]:
    for row in rows:
        yield row if isinstance(row, Failure) else row.model_copy(update={"source": source})
