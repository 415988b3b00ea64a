"""Preference pairs of a run, and from files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lwexp.extend.registry import register
from lwexp.extend.rows import RawRow
from lwexp.extend.source import Found, PairSource, RawPairSource
from lwexp.mix.files import read_file
from lwexp.mix.sources.runs import find_file, find_output
from lwexp.records import PreferencePair, read_rows


@register
class PairsRunSource(PairSource):
    """Preference pairs built by ``generate_data.py task=pairs``."""

    kind: Literal["built"] = "built"
    run: str = "newest"
    """A run directory or run name; "newest" takes the newest finished pairs run under root."""

    def find(self, key: str, root: Path) -> Found:
        return find_output(
            key, self.run, "pairs.jsonl", root=root, stages=("pairs", "import"),
            make_it="python generate_data.py task=pairs",
        )  # fmt: skip

    def rows(self, key: str, found: Found) -> Iterator[PreferencePair]:
        return read_rows(Path(found.path), PreferencePair)


@register
class PairsFileSource(RawPairSource):
    """A preference file."""

    kind: Literal["file"] = "file"
    path: str

    def find(self, key: str, root: Path) -> Found:
        return find_file(key, self.path)

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        return read_file(Path(self.path))
