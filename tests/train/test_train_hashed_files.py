"""Files that are hashed while they are written; a failure in between is reported as what it is."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lwexp.records import LwexpError
from lwexp.train.loop.checkpoints import newest_checkpoint, save_checkpoint
from lwexp.train.parallel import hashed_files
from lwexp.train.parallel.hashed_files import HashedFiles

STATE = {"weights": torch.arange(1_000_000, dtype=torch.float32), "small": torch.ones(3), "step": 7, "name": "x" * 100}


def test_the_hash_is_that_of_the_file_and_torch_reads_it(tmp_path: Path) -> None:
    """4 MB in one tensor, which a second thread hashes, and small pieces around it."""
    files = HashedFiles()
    files.save(STATE, tmp_path / "a")
    files.save_checkpoint({"b": 1}, tmp_path / "b")
    written = files.take()
    assert set(written) == {tmp_path / "a", tmp_path / "b"}
    for path, (size, digest) in written.items():
        assert (size, digest) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    found = torch.load(tmp_path / "a", weights_only=True)
    assert torch.equal(found["weights"], STATE["weights"])  # type: ignore[arg-type]
    assert found["name"] == STATE["name"]
    assert files.take() == {}


def save_with(files: HashedFiles, folder: Path, step: int) -> None:
    def write(path: Path) -> Any:
        files.save(STATE, path)
        return files.take()

    save_checkpoint(folder, step, write, lambda: None, keep=2)


@pytest.mark.parametrize("at", [1, 5, 9])
@pytest.mark.parametrize(
    ("failure", "raised", "said"),
    [
        (KeyboardInterrupt("Ctrl-C after step 3"), KeyboardInterrupt, "Ctrl-C after step 3"),
        (OSError(errno.ENOSPC, "No space left on device"), LwexpError, "step 3 .*: No space left on device; earlier"),
    ],
)
def test_what_stops_a_save_is_what_is_said_and_the_checkpoint_before_stays(
    failure: BaseException, raised: type[BaseException], said: str, at: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """torch's writer raises one more error, when it closes a file in which it could not write."""
    files = HashedFiles()
    save_with(files, tmp_path, 2)
    write: Callable[..., int] = hashed_files._HashedFile.write
    calls = [0]

    def fail(self: Any, data: Any) -> int:
        calls[0] += 1
        if calls[0] == at:
            raise failure
        return write(self, data)

    monkeypatch.setattr(hashed_files._HashedFile, "write", fail)
    with pytest.raises(raised, match=said):
        save_with(files, tmp_path, 3)
    monkeypatch.undo()
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 2
    save_with(files, tmp_path, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000004"]
