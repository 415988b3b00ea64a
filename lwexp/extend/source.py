"""Data sources of a mixture. They are found and fingerprinted first, and read later."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from lwexp.extend.registry import OneOf, Registry
from lwexp.extend.rows import PAIR_FORMATS, ROW_FORMATS, AutoFormat, AutoPairFormat, PairFormat, RawRow, RowFormat
from lwexp.extend.settings import Key, Strict
from lwexp.records import Conversation, FileState, PreferencePair


class Found(NamedTuple):
    """A source that was found."""

    path: str
    """A file, a folder, a hub id or an address."""
    fingerprint: str
    """Changes with the content; part of the id of the run that trains on it."""
    run: Path | None = None
    """Directory of the run that wrote it, if one did."""
    state: FileState | None = None
    """Of the file or folder, taken before its fingerprint. With it, a change while the source is hashed or read stops
    the run; without it, only a change after ``find``."""


class AnySource(Strict):
    """Common base of conversation and pair sources."""

    kind: str
    count: int | None = Field(default=None, ge=0)
    """Number of rows; null takes all within the word limits, 0 disables the source."""

    def find(self, key: str, root: Path) -> Found:
        """Find the source, cheaply: files are hashed, nothing is parsed.

        Args:
            key: Its config key, for messages: ``mixture.sources.<name>``.
            root: Folder of runs.

        Raises:
            LwexpError: If it does not exist.
        """
        raise NotImplementedError


class DataSource(AnySource):
    """Conversations, for SFT. A subclass defines ``find`` and ``rows``."""

    min_words: int | None = Field(default=None, ge=0)
    """Shortest answer allowed, in words; of several answers the longest counts."""
    max_words: int | None = Field(default=None, ge=1)
    """Longest answer allowed, in words. The paper traces a model's output cap to this length."""

    def rows(self, key: str, found: Found) -> Iterator[RawRow | Conversation]:
        """Rows in their order: raw ones, which ``format`` reads, or finished conversations."""
        raise NotImplementedError


class RawSource(DataSource):
    """Conversations in some tool's row format."""

    format: Annotated[RowFormat, OneOf(ROW_FORMATS, by_name=True)] = AutoFormat()
    """auto recognises the format from the first row that it can tell, and uses it for the whole source."""
    on_bad_row: Literal["skip", "error"] = "skip"
    """A broken row is named and counted, or stops the run."""

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        raise NotImplementedError


class PairSource(AnySource):
    """Preference pairs, for DPO and similar. A subclass defines ``find`` and ``rows``."""

    def rows(self, key: str, found: Found) -> Iterator[RawRow | PreferencePair]:
        """Rows in their order: raw ones, which ``format`` reads, or finished pairs."""
        raise NotImplementedError


class RawPairSource(PairSource):
    """Preference pairs in some tool's row format."""

    format: Annotated[PairFormat, OneOf(PAIR_FORMATS, by_name=True), Key(neutral=AutoPairFormat())] = AutoPairFormat()
    """auto recognises the format from the first row that it can tell, and uses it for the whole source."""
    on_bad_row: Literal["skip", "error"] = "skip"
    """A broken row is named and counted, or stops the run."""

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        raise NotImplementedError


DATA_SOURCES = Registry("data source", DataSource, ("lwexp.mix.sources.files", "lwexp.mix.sources.runs"))
PAIR_SOURCES = Registry("source of pairs", PairSource, ("lwexp.mix.sources.files", "lwexp.mix.sources.runs"))
