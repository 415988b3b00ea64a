"""Conversations from files, folders and hub sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from lwexp.extend.registry import register
from lwexp.extend.rows import RawRow
from lwexp.extend.source import Found, RawSource
from lwexp.mix.files import hub_fingerprint, read_file, read_hub
from lwexp.mix.sources.runs import find_file


@register
class FileSource(RawSource):
    """A JSON, JSONL or Parquet file."""

    kind: Literal["file"] = "file"
    path: str

    def find(self, key: str, root: Path) -> Found:
        return find_file(key, self.path)

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        return read_file(Path(self.path))


@register
class HubSource(RawSource):
    """A data set that ``datasets.load_dataset`` can open: a hub id or a local folder."""

    kind: Literal["hub"] = "hub"
    path: str
    split: str = "train"

    def find(self, key: str, root: Path) -> Found:
        return find_file(key, self.path) if Path(self.path).exists() else Found(self.path, hub_fingerprint(self.path))

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        return read_hub(self.path, self.split)
