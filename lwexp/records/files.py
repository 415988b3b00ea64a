"""JSONL files of rows: one row type per file, bad rows named by line, files written in one step."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from lwexp.records.atomic import atomic
from lwexp.records.rows import LwexpError, Row

R = TypeVar("R", bound=Row)

MAX_NESTING = 200
"""Levels of lists and objects in a JSON value from outside; far more than any row or config has."""


class TooDeepError(ValueError):
    """A JSON value has more than ``MAX_NESTING`` levels."""

    def __init__(self) -> None:
        super().__init__("is nested too deeply")


class BadRow(NamedTuple):
    """A line that is not a row of the expected type."""

    line: int
    problem: str


def read_rows(path: Path, row_type: type[R]) -> Iterator[R]:
    """Yield the rows of a JSONL file.

    Raises:
        LwexpError: At the first bad row; the message names file, line and problem.
    """
    for item in scan_rows(path, row_type):
        if isinstance(item, BadRow):
            raise LwexpError(f"{path} line {item.line}: not a {row_type.__name__}: {item.problem}")
        yield item


def scan_rows(path: Path, row_type: type[R]) -> Iterator[R | BadRow]:
    """Yield the rows of a JSONL file, and a ``BadRow`` in place of each line that is not a row."""
    if not path.is_file():
        raise LwexpError(f"{path} does not exist (wanted: a JSONL file of {row_type.__name__} rows)")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield row_type.model_validate_json(line)
            except ValidationError as error:
                yield BadRow(number, first_problem(error))


def scan_json_lines(path: Path) -> Iterator[tuple[int, Any] | BadRow]:
    """Yield line number and value of each line of a file, or a ``BadRow`` for a line that is not JSON."""
    with path.open("rb") as lines:
        yield from parse_json_lines(lines)


def parse_json(content: str | bytes) -> Any:
    """The value of a JSON text, as ``json.loads``.

    Raises:
        TooDeepError: If it is nested deeper than ``MAX_NESTING``.
        ValueError: If it is not JSON, or has a number that is too long.
    """
    try:
        value = json.loads(content)
    except RecursionError:
        raise TooDeepError from None
    check_nesting(value)
    return value


def check_nesting(value: Any) -> None:
    """Refuse a value that a recursive function could not walk. From Python 3.12 on, ``json`` reads any depth.

    Raises:
        TooDeepError: If lists and objects are nested deeper than ``MAX_NESTING``.
    """
    level = [value]
    for _ in range(MAX_NESTING + 1):
        containers = [item for item in level if isinstance(item, list | dict)]
        if not containers:
            return
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
    raise TooDeepError


def too_deep_at(text: str, start: int = 0) -> str:
    """Where the JSON value, whole or cut off, that begins at ``start`` is nested deeper than ``MAX_NESTING``."""
    levels = 0
    for found in re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL).finditer(text, start):
        levels += {"[": 1, "{": 1, "]": -1, "}": -1}.get(found[0], 0)
        if levels > MAX_NESTING:
            line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
            return f"line {line}, column {column}"
    return "an unknown place"


def parse_json_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, Any] | BadRow]:
    """The same for lines from anywhere. Blank lines and a byte order mark are skipped."""
    number = 0
    for line in lines:  # not enumerated: it would keep the line, and a row may have hundreds of megabytes
        number += 1
        if not line.strip():
            continue
        try:
            text = line.decode("utf-8-sig")
            del line
            value = parse_json(text)
            del text
        except TooDeepError as error:
            yield BadRow(number, str(error))
        except ValueError as error:
            yield BadRow(number, f"is not JSON: {error}")
        else:
            yield number, value
            del value


def read_json_lines(path: Path, *, key: str = "") -> Iterator[tuple[int, Any]]:
    """Yield line number and value of each line that is not blank.

    Args:
        path: A file that exists.
        key: Prefix of the path in messages, such as ``responses=``.

    Raises:
        LwexpError: At the first line that is not JSON.
    """
    for item in scan_json_lines(path):
        if isinstance(item, BadRow):
            raise LwexpError(f"{key}{path} line {item.line}: {item.problem}")
        yield item


def first_problem(error: ValidationError) -> str:
    """The first problem that pydantic found, in one line: field, message, and the number of further problems."""
    problems = error.errors(include_url=False)
    where = ".".join(str(part) for part in problems[0]["loc"]) or "row"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {problems[0]['msg']}{more}"


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a JSONL file atomically and return how many there were."""
    count = 0
    with atomic(path, durable=True) as aside, aside.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(row.model_dump_json() + "\n")
            count += 1
    return count


class RowLog:
    """An append-only JSONL file that survives ``kill -9``: rows are flushed one by one.

    Opening an existing log removes an incomplete last line, which a kill during a write leaves.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _cut_torn_tail(path)
        self._out = path.open("a", encoding="utf-8")

    def append(self, row: Row) -> None:
        self._out.write(row.model_dump_json() + "\n")
        self._out.flush()

    def close(self) -> None:
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()

    def __enter__(self) -> RowLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_torn_tail(path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


class StoredRows(Collection[R]):
    """The rows of a JSONL file as a collection, read from the file on each pass: one row is in memory at a time."""

    def __init__(self, path: Path, row_type: type[R]) -> None:
        self.path = path  # must not change between passes
        self.row_type = row_type
        self._count: int | None = None

    def __iter__(self) -> Iterator[R]:
        return read_rows(self.path, self.row_type)

    def __len__(self) -> int:
        if self._count is None:
            with self.path.open("rb") as lines:
                self._count = sum(1 for line in lines if line.strip())
        return self._count

    def __contains__(self, row: object) -> bool:
        return any(row == mine for mine in self)
