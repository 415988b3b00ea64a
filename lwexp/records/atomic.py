"""Files and folders that are either complete or absent: written under a temporary name, then renamed."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path; the file or folder that the block writes there replaces ``path`` when the block ends.

    After an error ``path`` is unchanged and the temporary file is removed. Leftovers of a killed process are removed by
    the next process that writes to ``path``.

    Args:
        path: Where the file or folder goes.
        durable: Wait until the file's bytes are on the disk, so that a power cut cannot leave an empty one.
    """
    if path.is_symlink() and path.is_dir():
        path = path.resolve()  # a folder on another disk stays there
    aside, former = path.with_name(path.name + ".tmp"), path.with_name(path.name + ".old.tmp")
    _remove(aside)
    _put_back(former, path)
    _remove(former)
    try:
        yield aside
        if durable:
            with aside.open("rb") as written:
                os.fsync(written.fileno())
        if path.is_dir():
            # A folder cannot be renamed onto another. It is not deleted in place, because a kill while its files are
            # deleted would leave half a folder under a name that stands for a whole one.
            path.rename(former)
        aside.replace(path)
        _remove(former)
    except BaseException:
        _put_back(former, path)
        _remove(aside)
        raise


def _put_back(former: Path, path: Path) -> None:
    """Undo the first of the two renames of ``atomic``, if the second did not follow."""
    if former.is_dir() and not path.exists():
        former.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str, encoding: str = "utf-8") -> None:
    """Write a text file in one step."""
    with atomic(path) as aside:
        aside.write_text(text, encoding=encoding)


def write_json(path: Path, value: object) -> None:
    """Write one JSON value in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
