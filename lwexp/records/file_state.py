"""Whether a source is still the one that was fingerprinted, once its rows have been read."""

from pathlib import Path
from typing import NamedTuple, Self

from lwexp.records.rows import LwexpError


def refuse_special(path: Path) -> None:
    """Refuse a pipe, socket or device: reading one may never end, and gives nothing the second time.

    Raises:
        LwexpError: Naming it.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise LwexpError(f"{path} is a pipe or a device; wanted a file, so write its content into one")


class FileState(NamedTuple):
    """Size and times of change of a file, or of all files of a folder.

    A run is known by the fingerprint of its source. Were the source changed while its rows are read, the run would hold
    the rows of one file under the fingerprint of another.
    """

    files: tuple[tuple[str, int, int, int], ...]
    """Name, bytes, time of the last change of the content, and of any change."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The state now; take it before the fingerprint."""
        found = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        states = [(file, file.stat()) for file in found]
        return cls(tuple((str(file), state.st_size, state.st_mtime_ns, state.st_ctime_ns) for file, state in states))

    def require_same(self, path: Path, key: str) -> None:
        """Refuse a source that is not as it was.

        Args:
            path: The file or folder.
            key: The config key that names it, for the message.

        Raises:
            LwexpError: If a file was changed, added or removed.
        """
        try:
            is_same = FileState.of(path) == self
        except OSError:
            is_same = False
        if not is_same:
            raise LwexpError(f"{key}={path}: was changed while it was read; run the same command again")
