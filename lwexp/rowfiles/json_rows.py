"""Reads rows of JSONL and JSON files. A value nested too deeply, or with a number that is too long, breaks its row."""

import json
from collections.abc import Generator, Iterator, Mapping
from typing import BinaryIO

from lwexp.extend.rows import RawRow
from lwexp.records import BadRow, LwexpError, TooDeepError, check_nesting, parse_json_lines, too_deep_at


def read_jsonl(file: BinaryIO, origin: str) -> Generator[RawRow, None, None]:
    """One JSON value on each line; a line that is not JSON is a broken row."""
    for item in parse_json_lines(file):
        if isinstance(item, BadRow):
            yield RawRow(item.line, "line", None, item.problem)
        else:
            yield RawRow(item[0], "line", item[1])


def read_json(file: BinaryIO, origin: str) -> Generator[RawRow, None, None]:
    """An array of rows, an object with such an array under ``data``, or an object that is the only row.

    Raises:
        LwexpError: If the file is not UTF-8, is nested too deeply, or holds something else.
    """
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LwexpError(f"{origin} is not UTF-8 text: {error}; convert it first") from None
    at = _skip_space(text, 0)
    if text[at : at + 1] == "[":
        yield from _array(text, at)
        return
    try:
        value, end = json.JSONDecoder().raw_decode(text, at)
        check_nesting(value)
    except (TooDeepError, RecursionError):
        raise LwexpError(f"{origin} is nested too deeply at {too_deep_at(text)}") from None
    except ValueError as error:
        raise LwexpError(f"{origin} is not a JSON array of rows, and not JSON at all: {error}") from None
    if not isinstance(value, Mapping) or text[end:].strip():
        raise LwexpError(f"{origin} is not a JSON array of rows; if it has one object per line, rename it to .jsonl")
    rows = value["data"] if isinstance(value.get("data"), list) else [value]
    yield from (RawRow(number, "row", row) for number, row in enumerate(rows, start=1))


def _array(text: str, at: int) -> Iterator[RawRow]:
    """Parse an array element by element, so that the rows before a syntax error are kept."""
    decoder = json.JSONDecoder()
    at, number = _skip_space(text, at + 1), 0
    while text[at : at + 1] != "]":
        number += 1
        try:
            value, end = decoder.raw_decode(text, at)
            check_nesting(value)
        except (TooDeepError, RecursionError):
            problem = f"is nested too deeply at {too_deep_at(text, at)}, and nothing after it was read"
            yield RawRow(number, "row", None, problem)
            return
        except ValueError as error:
            yield RawRow(number, "row", None, f"is not JSON, and nothing after it was read: {error}")
            return
        yield RawRow(number, "row", value)
        at = _skip_space(text, end)
        if text[at : at + 1] == ",":
            at = _skip_space(text, at + 1)
        elif text[at : at + 1] != "]":
            line = text.count("\n", 0, at) + 1
            yield RawRow(number + 1, "row", None, f"is cut off: line {line} has no comma or ] after row {number}")
            return
    if text[at + 1 :].strip():
        yield RawRow(number + 1, "row", None, "is after the closing ], and nothing from there on was read")


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t"):
        at += 1
    return at
