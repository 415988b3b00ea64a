"""Checksums of a folder of results: written when the folder is complete, compared before its files are used.

    <run>/model/checksums.json   name -> size and sha256 of each file of the folder
    <run>/.checked.json          name -> size, times of change and sha256 of files that were compared before

Reading 18 GB takes ten seconds or more. So a run remembers the files that were compared, and they are not read again as
long as size and times of change stay the same. A folder that was copied out of its run is read each time it is checked.
"""

import contextlib
import hashlib
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lwexp.records.atomic import write_json
from lwexp.records.files import parse_json
from lwexp.records.rows import LwexpError

CHECKSUMS = "checksums.json"
_CHECKED = ".checked.json"
_MANIFEST = "manifest.json"
"""A folder with this file is a run."""
_TICK_NANOSECONDS = 20_000_000
"""Times of files advance in steps of up to 10 ms: within that time a second change leaves no trace."""


def shaping_files(folder: Path) -> list[Path]:
    """The files of a folder that can change what is computed with it: all but Markdown, hidden files and checksums."""

    def counts(file: Path) -> bool:
        parts = file.relative_to(folder).parts
        return file.suffix != ".md" and parts != (CHECKSUMS,) and not any(part.startswith(".") for part in parts)

    return sorted(file for file in folder.rglob("*") if file.is_file() and counts(file))


def write_checksums(folder: Path, final: Path) -> None:
    """Write ``checksums.json`` into a complete folder.

    Args:
        folder: The folder, which may still have a temporary name.
        final: Its later place; if that is in a run, its files count as compared.
    """
    files = {str(file.relative_to(folder)): file for file in shaping_files(folder)}
    listed = {name: [file.stat().st_size, _sha256(file)] for name, file in files.items()}
    write_json(folder / CHECKSUMS, listed)
    _remember(final, {name: [*_state(file), listed[name][1]] for name, file in files.items()})


def check_files(folder: Path, fix: str, *, among: Collection[str] | None = None) -> None:
    """Refuse a folder whose files are not those that were written. A folder without checksums is accepted.

    Args:
        folder: As ``write_checksums`` left it, or a copy.
        fix: What the user can do, for the message.
        among: Compare these files only; None compares all.

    Raises:
        LwexpError: If a file is missing or differs; the message names it.
    """
    if (problem := changed_file(folder, among)) is not None:
        raise LwexpError(f"{problem}; {fix}")


def changed_file(folder: Path, among: Collection[str] | None = None) -> str | None:
    """The first file that is not as it was written, and how it differs; None if all are, or no checksums are there."""
    try:
        listed = parse_json((folder / CHECKSUMS).read_bytes())
        wanted = {str(name): (int(size), str(sha256)) for name, (size, sha256) in listed.items()}
    except FileNotFoundError:  # written by an earlier version, or by another program
        return None
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return f"{folder / CHECKSUMS} cannot be read"
    known, compared = _known(folder), {}
    for name, (size, sha256) in wanted.items():
        if among is not None and name not in among:
            continue
        try:
            state = _state(folder / name)
            if state[0] != size:
                return f"{folder / name} has {state[0]:,} bytes, {size:,} were written"
            row = [*state, sha256]
            if known.get(_key(folder, name)) == row:
                continue
            if _sha256(folder / name) != sha256:
                return f"{folder / name} has changed since it was written"
            compared[name] = row
        except FileNotFoundError:
            return f"{folder / name} is missing"
        except OSError as error:
            return f"{folder / name} cannot be read ({error.strerror})"
    _remember(folder, compared)
    return None


def _state(file: Path) -> list[int]:
    """What tells that a file may have changed. ``st_ctime`` also changes if the other time is set back."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _key(folder: Path, name: str) -> str:
    return f"{folder.name}/{name}"


def _known(folder: Path) -> dict[str, Any]:
    try:
        known = parse_json((folder.parent / _CHECKED).read_bytes())
    except (OSError, ValueError, RecursionError):  # not there yet, or damaged: the files are read again
        return {}
    return known if isinstance(known, dict) else {}


def _remember(folder: Path, rows: dict[str, list[Any]]) -> None:
    """Keep what was compared, in a run only: other folders are the user's."""
    latest = time.time_ns() - _TICK_NANOSECONDS
    rows = {name: row for name, row in rows.items() if row[2] < latest}
    if rows and (folder.parent / _MANIFEST).is_file():
        # Without it, files are only read again, so a full or read-only disk does no harm here. Nor does another rank
        # that writes the same at the same time.
        with contextlib.suppress(OSError):
            known = _known(folder) | {_key(folder, name): row for name, row in rows.items()}
            write_json(folder.parent / _CHECKED, known)
