"""Files of a checkpoint, hashed and synced by the rank that writes them, while it writes them.

Reading 123 GiB back to hash them, on rank 0 alone, would take longer than writing them on eight ranks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from lightning.fabric.plugins.io import CheckpointIO
from lightning.pytorch.plugins.io import TorchCheckpointIO

_WORTH_A_THREAD = 2**20


class FileHash(NamedTuple):
    """Size in bytes and sha256 of a file."""

    size: int
    sha256: str


def hash_file(path: Path) -> FileHash:
    """Read a file and hash it."""
    with path.open("rb") as content:
        return FileHash(path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())


class HashedFiles(CheckpointIO):  # type: ignore[misc]
    """What Lightning and DeepSpeed write checkpoints with.

    Lightning's own writer would first build the whole file in host memory.
    """

    def __init__(self) -> None:
        self._written: dict[Path, FileHash] = {}

    def save(self, content: Any, path: Path) -> None:
        """``torch.save``; when it returns, the file is on the disk and its hash is known."""
        with _HashedFile(path) as file:
            writer: Any = file  # has the part of IO[bytes] that torch uses
            torch.save(content, writer)
        self._written[path] = file.hash

    def take(self) -> Mapping[Path, FileHash]:
        """The files that this rank has written since the last call."""
        written, self._written = self._written, {}
        return written

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """As Lightning calls it, in a run of one process."""
        assert storage_options is None
        self.save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """As in Lightning, onto the CPU."""
        return TorchCheckpointIO().load_checkpoint(path, weights_only=weights_only)

    def remove_checkpoint(self, path: Any) -> None:
        """Never called: checkpoints are removed as folders."""
        raise NotImplementedError(path)


class _HashedFile:
    """A file to write to, from front to back, that knows its hash when it is closed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._sha256 = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1)
        self.hash = FileHash(0, "")

    def __enter__(self) -> _HashedFile:
        return self

    def write(self, data: memoryview | bytes) -> int:
        """Write and hash side by side: both let go of the interpreter's lock. ``data`` may change afterwards."""
        size = memoryview(data).nbytes
        if size < _WORTH_A_THREAD:
            self._sha256.update(data)
            return self._file.write(data)
        hashing = self._hasher.submit(self._sha256.update, data)
        try:
            return self._file.write(data)
        finally:
            hashing.result()

    def flush(self) -> None:
        self._file.flush()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._hasher.shutdown()
        with self._file:
            if kind is None:
                self._file.flush()
                # Here, as another node cannot force what is still in this one's memory onto the disk.
                os.fsync(self._file.fileno())
                self.hash = FileHash(self._file.tell(), self._sha256.hexdigest())
