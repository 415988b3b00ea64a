"""Conversations and preference pairs in files, folders and hub sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from lwexp.extend.registry import register
from lwexp.extend.rows import RawRow
from lwexp.extend.settings import Strict
from lwexp.extend.source import Found, RawPairSource, RawSource
from lwexp.mix.files import FILE_ENDINGS, read_file
from lwexp.mix.hub import hub_fingerprint, read_hub
from lwexp.records import FileState, LwexpError


class _OneFile(Strict):
    path: str
    """The file; formats: docs/data.md."""
    _instead_of_a_folder: ClassVar[str] = "give the path of one file in it"

    def find(self, key: str, root: Path) -> Found:
        if Path(self.path).is_dir():
            raise LwexpError(f"{key}.path={self.path} is a folder; {self._instead_of_a_folder.format(key=key)}")
        return _found(key, self.path)

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        return read_file(Path(self.path))


@register
class FileSource(_OneFile, RawSource):
    """A JSON, JSONL, CSV or Parquet file of conversations."""

    kind: Literal["file"] = "file"
    _instead_of_a_folder: ClassVar[str] = "set {key}.kind=hub"


@register
class PairsFileSource(_OneFile, RawPairSource):
    """A JSON, JSONL, CSV or Parquet file of preference pairs."""

    kind: Literal["file"] = "file"


@register
class HubSource(RawSource):
    """A data set that ``datasets.load_dataset`` can open: a hub id or a local folder."""

    kind: Literal["hub"] = "hub"
    path: str
    """Hub id, such as THUDM/LongWriter-6k."""
    split: str = "train"
    """Which split of the set."""

    def find(self, key: str, root: Path) -> Found:
        return _found(key, self.path) if Path(self.path).exists() else Found(self.path, hub_fingerprint(self.path))

    def rows(self, key: str, found: Found) -> Iterator[RawRow]:
        return read_hub(self.path, self.split)


def _found(key: str, path: str) -> Found:
    from lwexp.runs import fingerprint

    if not Path(path).exists():
        raise LwexpError(f"{key}.path={path} does not exist; wanted a {', '.join(FILE_ENDINGS)} file")
    state = FileState.of(Path(path))
    return Found(path, fingerprint(Path(path)), state=state)
