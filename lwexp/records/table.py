"""A JSONL file and its copy in Parquet, written row by row, so that 200,000 long rows are never in memory at once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter

from lwexp.records.atomic import atomic
from lwexp.records.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R", bound=Row)
_BATCH_BYTES = 32_000_000  # of JSON; a Parquet row group is about as large before compression
_PLAIN = {str: "string", int: "int64", float: "float64", bool: "bool_"}


class TableWriter(ExitStack[bool | None], Generic[R]):
    """Writes ``<stem>.jsonl`` and ``<stem>.parquet``, equal in content.

    Both appear when the block ends without an error; after an error, existing files are unchanged. The Parquet
    columns have the types of the row's fields, so that files of several runs can be read together even if a column
    is empty in one of them.

    Args:
        folder: Folder of the two files.
        stem: Their name.
        row_type: The one type of row they hold.
    """

    def __init__(self, folder: Path, stem: str, row_type: type[R]) -> None:
        import pyarrow.parquet as pq

        super().__init__()
        self.count = 0
        self._schema = arrow_schema(row_type)
        lines, columns = (
            self.enter_context(atomic(folder / f"{stem}.{kind}", durable=True)) for kind in ("jsonl", "parquet")
        )
        self._lines = self.enter_context(lines.open("wb"))
        numbers = list(_number_columns(self._schema))
        self._columns = self.enter_context(
            # Of texts, dictionaries and statistics would hold several copies of the longest, and save no space.
            pq.ParquetWriter(columns, self._schema, use_dictionary=numbers, write_statistics=numbers)
        )
        self.push(self._write_rest)
        self._rows = TypeAdapter(row_type)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def append(self, row: R) -> None:
        line = self._rows.dump_json(row)
        self._lines.write(line)
        self._lines.write(b"\n")
        self.count += 1
        if len(line) >= _BATCH_BYTES:
            del line
            if self._waiting:
                self._write_batch()
            self._write_alone(row)
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes >= _BATCH_BYTES:
            self._write_batch()

    def _write_batch(self) -> None:
        """Arrow parses the lines: faster than converting Python objects, which would also import pandas."""
        from pyarrow import json

        data = b"\n".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        one_block = json.ReadOptions(block_size=len(data) + 1)
        by_schema = json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="error")
        table = json.read_json(io.BytesIO(data), one_block, by_schema) if data else self._schema.empty_table()
        self._columns.write_table(table)

    def _write_alone(self, row: R) -> None:
        """A row of a batch's size becomes a row group from its own texts, because its JSON would be another copy or
        two of them."""
        import pyarrow as pa

        self._columns.write_table(pa.Table.from_pylist([row.model_dump()], self._schema))

    def _write_rest(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write_batch()  # even if empty: the file must exist and have its columns


def arrow_schema(row_type: type[Row]) -> pa.Schema:
    """The Parquet columns of a row type. A dict has no fixed columns and is refused: use a row type instead."""
    import pyarrow as pa

    return pa.schema([(name, _arrow_type(field.annotation)) for name, field in row_type.model_fields.items()])


def _number_columns(fields: Iterable[pa.Field], above: str = "") -> Iterator[str]:
    """Paths of the columns that hold no text, as Parquet names them: ``messages.list.element.weight``."""
    import pyarrow as pa

    for field in fields:
        path, kind = f"{above}{field.name}", field.type
        while pa.types.is_list(kind):
            path, kind = f"{path}.list.element", kind.value_type
        if pa.types.is_struct(kind):
            yield from _number_columns(kind, f"{path}.")
        elif not pa.types.is_string(kind):
            yield path


def _arrow_type(annotation: Any) -> pa.DataType:
    import pyarrow as pa

    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        (annotation,) = (argument for argument in arguments if argument is not NoneType)
        return _arrow_type(annotation)
    if origin is Literal:
        return pa.string()
    if origin is tuple:
        return pa.list_(_arrow_type(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, Row):
        return pa.struct([(name, _arrow_type(field.annotation)) for name, field in annotation.model_fields.items()])
    assert annotation in _PLAIN, f"{annotation} has no column type"
    return getattr(pa, _PLAIN[annotation])()
