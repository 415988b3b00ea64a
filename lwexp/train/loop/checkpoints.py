"""Checkpoints that are complete or absent: written to a temporary folder, hashed, synced, then renamed.

checkpoints/step-00000400/state.ckpt     Lightning's file (DeepSpeed: a folder)
checkpoints/step-00000400/files.json     size and sha256 of each file
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lwexp.records import LwexpError, parse_json, write_json
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.parallel.hashed_files import FileHash, hash_file
from lwexp.train.parallel.rank_sync import broadcast_from_rank0, gather_from_ranks, rank_and_world

log = logging.getLogger(__name__)

GIB = 2**30


class Checkpoint(NamedTuple):
    """A checkpoint whose files match their recorded hashes."""

    step: int
    state: Path


def save_checkpoint(
    folder: Path,
    step: int,
    write: Callable[[Path], Mapping[Path, FileHash] | None],
    barrier: Callable[[], None],
    keep: int,
) -> None:
    """Write a checkpoint, delete all but the newest ``keep`` up to it, and log its size and how long it took.

    Args:
        folder: The run's checkpoints.
        step: Number of optimiser steps done.
        write: Writes the state to a path; all ranks call it. It returns the hashes of the files that this rank has
            written and synced. Rank 0 reads, hashes and syncs all remaining files.
        barrier: Waits for all ranks.
        keep: How many checkpoints to keep.

    Raises:
        LwexpError: If writing fails. Earlier checkpoints are not changed.
    """
    target = folder / f"step-{step:08d}"
    aside = folder / f"{target.name}.tmp"
    began = time.monotonic()
    try:
        if is_rank_zero():
            # A killed process leaves a half-written checkpoint, perhaps of another step: 105 GiB for a 9B model.
            for left in folder.glob("step-*.tmp"):
                shutil.rmtree(left, ignore_errors=True)
            aside.mkdir(parents=True)
        barrier()
        parts = gather_from_ranks(write(aside / "state.ckpt") or {})  # also waits for all ranks
        if is_rank_zero():
            size = _commit(aside, target, step, {path: entry for part in parts for path, entry in part.items()})
            # A checkpoint of a later step was damaged when the run resumed before it: it does not count as kept.
            for old in [path for path in _by_age(folder) if path.name <= target.name][:-keep]:
                shutil.rmtree(old)
            log.info("saved step %d: %s in %.1f s", step, _size(size), time.monotonic() - began)
    except (OSError, RuntimeError) as error:
        if (told := _interrupt_behind(error)) is not None:
            raise told from None
        if (problem := _write_problem(error)) is None:
            raise
        shutil.rmtree(aside, ignore_errors=True)
        # Other ranks may be waiting inside the strategy's own collectives; the launcher ends them.
        raise LwexpError(
            f"cannot write the checkpoint of step {step} to {folder}: {problem}; earlier ones are intact. "
            f"Free some space and rerun the command"
        ) from error
    barrier()


def _commit(aside: Path, target: Path, step: int, known: Mapping[Path, FileHash]) -> int:
    """Make a written checkpoint valid: list and sync its files, then rename its folder. Returns its size in bytes."""
    files = _list_files(aside, known)
    write_json(aside / "files.json", {"step": step, "files": files})
    _sync(aside, known)
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    _sync_folder(target.parent)
    return sum(entry.size for entry in files.values())


def raise_on_all_ranks(failure: OSError | RuntimeError | None) -> None:
    """Stop all ranks if a write has failed on any of them. All ranks must call this, and rank 0 reports the failure.

    Raises:
        OSError: On rank 0, with the first rank's reason.
        SystemExit: On the other ranks, so that one failure is not reported once per rank.
    """
    reasons = gather_from_ranks(None if failure is None else _write_problem(failure) or str(failure))
    reason = next(filter(None, reasons), None)
    if reason is None:
        return
    if is_rank_zero():
        raise OSError(reason) from failure
    raise SystemExit(2)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it: after a failed write, torch's writer raises another error on closing."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    return next((cause for cause in _causes(error) if isinstance(cause, KeyboardInterrupt)), None)


def _write_problem(error: BaseException) -> str | None:
    """The reason if the error is a failed write, else None. torch raises RuntimeError for some failed writes."""
    for cause in _causes(error):
        if isinstance(cause, OSError):
            return cause.strerror or str(cause)
    text = str(error).splitlines()[0] if str(error) else ""
    return text[:160] if "PytorchStreamWriter" in text or "unexpected pos" in text else None


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose files match their hashes, or None. Each damaged one that is skipped is logged.

    All ranks of a run must call this: each reads its share of the files, and all get the same answer.
    """
    for path in broadcast_from_rank0(lambda: _by_age(folder)[::-1]):
        problem = next(filter(None, gather_from_ranks(_problem(path, *rank_and_world()))), None)
        if problem is None:
            return Checkpoint(int(path.name.removeprefix("step-")), path / "state.ckpt")
        log.warning("checkpoint %s is damaged (%s) and skipped", path, problem)
    return None


def _by_age(folder: Path) -> list[Path]:
    """Checkpoint folders, oldest first, without the .tmp folders that a killed process has left."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir() and path.suffix != ".tmp")


def _problem(path: Path, rank: int, world: int) -> str | None:
    """What is wrong with this rank's share of the files; None if nothing is. The files are dealt out by size."""
    try:
        listed: dict[str, tuple[int, str]] = parse_json((path / "files.json").read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        return "files.json is missing or unreadable"
    by_size = sorted(listed.items(), key=lambda item: (item[1][0], item[0]), reverse=True)
    for name, (size, digest) in by_size[rank::world]:
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes, {size} were written"
        if hash_file(file).sha256 != digest:
            return f"{name} has changed since it was written"
    return None


def _list_files(path: Path, known: Mapping[Path, FileHash]) -> dict[str, FileHash]:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): known.get(file) or hash_file(file) for file in files}


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / 2**20:.1f} MiB"


def _sync(path: Path, synced: Mapping[Path, FileHash]) -> None:
    """Force files and folders onto the disk before the rename makes them valid."""
    for file in (*path.rglob("*"), path):
        if file not in synced:
            _sync_folder(file)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
