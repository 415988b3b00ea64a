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
    aside = path.with_name(path.name + ".tmp")
    _remove(aside)
    try:
        yield aside
        if durable:
            with aside.open("rb") as written:
                os.fsync(written.fileno())
        if path.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed onto another
        aside.replace(path)
    except BaseException:
        _remove(aside)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
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
