"""Checkpoint files that the writing rank hashes while it writes them, and syncs to disk.

If rank 0 alone read 105 GiB back to hash them, that would take longer than writing them on eight ranks.
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
    """The writer that Lightning and DeepSpeed use for checkpoints.

    Lightning's own writer would first build the whole file in host memory.
    """

    def __init__(self) -> None:
        self._written: dict[Path, FileHash] = {}
        self._failure: OSError | RuntimeError | None = None

    def save(self, content: Any, path: Path) -> None:
        """Like ``torch.save``. On return the file is on disk and its hash is known."""
        with _HashedFile(path) as file:
            writer: Any = file  # it has those methods of IO[bytes] that torch uses
            torch.save(content, writer)
        self._written[path] = file.hash

    def save_shard(self, content: Any, path: Path) -> None:
        """Like ``save``, but a failure is kept for ``take_failure``: DeepSpeed's other ranks go on to a barrier, where
        they would wait for this one until they are killed."""
        try:
            self.save(content, path)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError for some failed writes
            self._failure = self._failure or error
            path.unlink(missing_ok=True)  # DeepSpeed's small files must still find room, or its rank 0 fails here

    def take_failure(self) -> OSError | RuntimeError | None:
        """Return the first failure of ``save_shard`` since the last call, and forget it."""
        failure, self._failure = self._failure, None
        return failure

    def take(self) -> Mapping[Path, FileHash]:
        """Return the files that this rank has written since the last call, with their hashes, and forget them."""
        written, self._written = self._written, {}
        return written

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Lightning calls this in a run of one process."""
        assert storage_options is None
        self.save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        """Load with Lightning's own reader, always onto the CPU."""
        return TorchCheckpointIO().load_checkpoint(path, weights_only=weights_only)

    def remove_checkpoint(self, path: Any) -> None:
        """Never called: ``save_checkpoint`` in ``loop/checkpoints.py`` removes old checkpoints as whole folders."""
        raise NotImplementedError(path)


class _HashedFile:
    """A file that is written from front to back; its hash is known once it is closed."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._sha256 = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1)
        self.hash = FileHash(0, "")

    def __enter__(self) -> _HashedFile:
        return self

    def write(self, data: memoryview | bytes) -> int:
        """Write and hash in parallel: both release the GIL. The caller may change ``data`` after this returns."""
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
                # Sync here, because another node cannot force data in this node's memory onto the disk.
                os.fsync(self._file.fileno())
                self.hash = FileHash(self._file.tell(), self._sha256.hexdigest())
