"""Finds the sources of a mixture, then reads them as the rows that the objective trains on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config import Config
from lwexp.extend.rows import RawRow
from lwexp.extend.source import AnySource, DataSource, Found, PairSource, RawPairSource, RawSource
from lwexp.extend.training_rows import R, TrainingRows
from lwexp.mix.parse import parse_conversations, parse_pairs, parse_rows
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair
from lwexp.runs import Run


class Resolved(NamedTuple):
    """A source of the mixture, and where it was found."""

    name: str
    key: str  # its config key, for messages: "mixture.sources.<name>" or "mixture.pairs.<name>"
    source: AnySource
    found: Found

    @property
    def run(self) -> Run | None:
        """The run that wrote the source, if any."""
        return None if self.found.run is None else Run.load(self.found.run)


def resolve_mixture(config: Config) -> list[Resolved]:
    """Find what the objective trains on: ``mixture.sources``, or ``mixture.pairs`` if it takes preference pairs.

    This is cheap: files are hashed but not parsed. A source with count 0 is left out, and need not exist.

    Raises:
        LwexpError: If a file or run is missing, or no source is left.
    """
    section = config.objective.rows.section
    sources: dict[str, AnySource] = getattr(config.mixture, section)
    found = [
        Resolved(name, key, source, source.find(key, Path(config.root)))
        for name, source in sources.items()
        if source.count != 0 and (key := f"mixture.{section}.{name}")
    ]
    if not found:
        raise LwexpError(f"mixture.{section}: no source with a count above 0; choose a mixture that has one")
    return found


def read_source(item: Resolved, kind: TrainingRows[R]) -> Iterator[R | Failure]:
    """Yield all rows of a source as the objective's kind; each row's ``source`` is the source's name in the mixture."""
    source, origin, name = item.source, item.found.path, item.name
    assert isinstance(source, DataSource | PairSource)
    rows: Iterator[Any] = source.rows(item.key, item.found)
    if kind.row_type not in (Conversation, PreferencePair):
        # Rows of a run are finished records; their columns are read like those of a file.
        numbered = enumerate(rows, start=1)
        raw = (row if isinstance(row, RawRow) else RawRow(n, "row", row.model_dump()) for n, row in numbered)
        yield from parse_rows(raw, kind, origin=origin, name=name)
        return
    if isinstance(source, RawSource):
        rows = parse_conversations(rows, origin=origin, name=name, format=source.format)
    elif isinstance(source, RawPairSource):
        rows = parse_pairs(rows, origin=origin, name=name, format=source.format)
    for row in rows:
        yield row if isinstance(row, Failure) else row.model_copy(update={"source": name})
