"""Checkpoints that are complete or absent: written to a temporary folder, hashed, synced, then renamed.

checkpoints/step-00000400/state.ckpt     Lightning's file (DeepSpeed: a folder)
checkpoints/step-00000400/files.json     size and sha256 of each file
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lwexp.records import LwexpError, write_json
from lwexp.runs.ranks import is_rank_zero

log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A checkpoint whose files match their hashes."""

    step: int
    state: Path


def save_checkpoint(
    folder: Path, step: int, write: Callable[[Path], None], barrier: Callable[[], None], keep: int
) -> None:
    """Write a checkpoint and delete all but the newest ``keep``.

    Args:
        folder: The run's checkpoints.
        step: Optimiser steps done.
        write: Writes the state to a path; all ranks call it.
        barrier: Waits for all ranks.
        keep: How many are kept.

    Raises:
        LwexpError: If writing fails. Earlier checkpoints stay as they are.
    """
    target = folder / f"step-{step:08d}"
    aside = folder / f"{target.name}.tmp"

    def begin() -> None:
        # A killed process leaves its half-written checkpoint, which may be of another step: 123 GiB for a 9B.
        for left in folder.glob("step-*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)

    def commit() -> None:
        write_json(aside / "files.json", {"step": step, "files": _list_files(aside)})
        _sync(aside)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        _sync_folder(folder)
        for old in _by_age(folder)[:-keep]:
            shutil.rmtree(old)

    try:
        if is_rank_zero():
            begin()
        barrier()
        write(aside / "state.ckpt")
        barrier()
        if is_rank_zero():
            commit()
    except (OSError, RuntimeError) as error:
        if (problem := _write_problem(error)) is None:
            raise
        shutil.rmtree(aside, ignore_errors=True)
        # Other ranks may be inside the strategy's own collectives: their launcher ends them.
        raise LwexpError(
            f"cannot write the checkpoint of step {step} to {folder}: {problem}; earlier ones are intact. "
            f"Free some space and rerun the command"
        ) from error
    barrier()


def _write_problem(error: OSError | RuntimeError) -> str | None:
    """Reason if the error is a failed write, else None. torch raises RuntimeError for those."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = str(error).splitlines()[0] if str(error) else ""
    return text[:160] if "PytorchStreamWriter" in text or "unexpected pos" in text else None


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files match their hashes, or None. A warning names each damaged one."""
    for path in reversed(_by_age(folder)):
        if (problem := _problem(path)) is None:
            return Checkpoint(int(path.name.removeprefix("step-")), path / "state.ckpt")
        log.warning("checkpoint %s is damaged (%s) and skipped", path, problem)
    return None


def _by_age(folder: Path) -> list[Path]:
    """Oldest first, without the .tmp folders that a killed process left."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.suffix != ".tmp")


def _problem(path: Path) -> str | None:
    try:
        listed: dict[str, list[object]] = json.loads((path / "files.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return "files.json is missing or unreadable"
    for name, (size, digest) in listed.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, {size} were written"
        if _sha256(file) != digest:
            return f"{name} has changed since it was written"
    return None


def _list_files(path: Path) -> dict[str, list[object]]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): [file.stat().st_size, _sha256(file)] for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Force files and folders onto the disk before the rename makes them valid."""
    for file in (*path.rglob("*"), path):
        _sync_folder(file)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
