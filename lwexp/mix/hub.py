"""Reads the raw rows of hub data sets and of folders. A folder's files are read one by one, as they are."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lwexp.extend.rows import RawRow
from lwexp.mix.files import can_read, read_file
from lwexp.records import LwexpError
from lwexp.text.plain import first_line

_ROWS_AT_ONCE = 256


def read_hub(path: str, split: str) -> Iterator[RawRow]:
    """Yield the rows of a hub set or of a local folder that ``datasets.load_dataset`` can open.

    Raises:
        LwexpError: If the set cannot be opened or has no such split.
    """
    problem = f"cannot open the data set {path} (split {split})"
    files = _files_of(path, split, problem)
    if files:
        yield from _read_files(files, Path(path), problem)
        return
    with _datasets(problem) as datasets:
        rows = datasets.load_dataset(path, split=split)
    columns = rows.column_names
    values = (row for batch in rows.iter(batch_size=_ROWS_AT_ONCE) for row in zip(*batch.values(), strict=True))
    for number, row in enumerate(values, start=1):
        yield RawRow(number, "row", dict(zip(columns, row, strict=True)))


def stream(path: str, split: str) -> Iterator[RawRow]:
    """Yield the rows of a hub set or a local folder as they arrive: nothing is kept, and reading may stop early.

    Raises:
        LwexpError: If the set cannot be opened or has no such split.
    """
    problem = f"cannot read the data set {path} (split {split})"
    files = _files_of(path, split, problem)
    if files:
        yield from _read_files(files, Path(path), problem)
        return
    with _datasets(problem) as datasets:
        for number, row in enumerate(datasets.load_dataset(path, split=split, streaming=True), 1):
            yield RawRow(number, "row", row)


def hub_fingerprint(path: str) -> str:
    """The hash by which ``datasets`` identifies a hub set's content; it changes with the commit. Loads no rows.

    Raises:
        LwexpError: If the hub cannot be reached and the set is not in the local cache.
    """
    with _datasets(f"cannot find the data set {path}", "; wanted a hub id or a local folder") as datasets:
        return str(datasets.load_dataset_builder(path).hash)


def _files_of(path: str, split: str, problem: str) -> list[Path]:
    """The files of a folder's split, as ``datasets`` finds them; empty if only ``datasets`` can read them.

    ``datasets`` gives a column one type in all files, and refuses the set if a column that is not needed has two.
    """
    if not Path(path).is_dir():
        return []
    with _datasets(problem) as datasets:
        found = datasets.load_dataset_builder(path).config.data_files or {}
    files = [Path(name) for name in found.get(split, ())]
    return files if all(can_read(file) for file in files) else []


def _read_files(files: list[Path], folder: Path, problem: str) -> Iterator[RawRow]:
    """The rows of files, numbered across files; each keeps its file and line for messages."""
    number = 0
    for file in files:
        try:
            for row in read_file(file):
                number += 1
                inside = row.place or f"{row.unit} {row.number}"
                yield row._replace(number=number, unit="row", place=f"{_below(file, folder)} {inside}")
        except LwexpError as error:
            raise LwexpError(f"{problem}: {error}") from None


def _below(file: Path, folder: Path) -> str:
    """The file's path below the folder, because "en/data.jsonl" and "zh/data.jsonl" have the same name."""
    inside, outer = file.resolve(), folder.resolve()
    return str(inside.relative_to(outer)) if inside.is_relative_to(outer) else file.name


@contextmanager
def _datasets(problem: str, fix: str = "") -> Iterator[Any]:
    """Yield the package ``datasets``; an error that it raises in the block becomes a one-line ``LwexpError``."""
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    before = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs each error before raising it
    try:
        yield datasets
    except (datasets.exceptions.DatasetsError, EOFError, OSError, RuntimeError, TypeError, ValueError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # datasets says only that an error occurred; its cause says which
            cause = cause.__cause__
        raise LwexpError(f"{problem}: {first_line(cause)}{fix}") from None
    finally:
        datasets.logging.set_verbosity(before)
