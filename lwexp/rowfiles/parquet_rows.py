"""Reads rows of Parquet files, a few at a time."""

from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

from lwexp.extend.rows import RawRow
from lwexp.records import LwexpError
from lwexp.rowfiles.limits import ROWS_AT_ONCE
from lwexp.text.plain import first_line

# Text that is not UTF-8, a date that is out of range, a time zone that is unknown.
_NO_PYTHON_VALUE = (ValueError, OverflowError, LookupError)


def read_parquet(file: BinaryIO, origin: str) -> Generator[RawRow, None, None]:
    """The rows of a Parquet file. Cells that Python cannot hold break their row, unless they are dates or times.

    Raises:
        LwexpError: If the file is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        batches = pq.ParquetFile(file, page_checksum_verification=True).iter_batches(batch_size=ROWS_AT_ONCE)
    except (pa.ArrowException, OSError) as error:
        raise LwexpError(f"{origin} is not a Parquet file: {first_line(error)}") from None
    number = 0
    try:
        for batch in batches:
            for value, problem in _parquet_rows(batch):
                number += 1
                yield RawRow(number, "row", value, problem)
    except (pa.ArrowException, OSError) as error:
        yield RawRow(number + 1, "row", None, f"is damaged, and nothing after it was read: {first_line(error)}")


def _parquet_rows(batch: Any) -> Iterator[tuple[dict[str, Any] | None, str | None]]:
    """Each row of a record batch, or its problem; cell by cell only where the batch as a whole cannot be converted."""
    import pyarrow as pa

    try:
        whole = batch.to_pylist()
    except _NO_PYTHON_VALUE:
        whole = None
    if whole is not None:
        yield from ((row, None) for row in whole)
        return
    for index in range(batch.num_rows):
        row: dict[str, Any] = {}
        problem = None
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            try:
                row[name] = column[index].as_py()
            except _NO_PYTHON_VALUE as error:
                row[name] = None
                if not pa.types.is_temporal(column.type):  # no format reads dates and times
                    problem = f"{name} cannot be read: {first_line(error)}"
        yield (row, None) if problem is None else (None, problem)
