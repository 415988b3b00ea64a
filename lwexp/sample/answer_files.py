"""Rows of files of answers: JSONL, JSON, CSV, Parquet, an inspect_ai log, each also as .gz, or a folder of them."""

import csv
import gzip
import io
import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.rows import ANSWER_FORMATS, AnswerFormat
from lwexp.records import LwexpError
from lwexp.sample.pairing import Numbered
from lwexp.text.encodable import Replaced, encodable_json
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".eval")
_NUMBERS = ("length", "response_length", "required_words", "repeat")  # columns of a CSV that are no text
_LARGEST_CELL = 2**31 - 1  # the csv module's own limit is 131,072 characters


class _Row(NamedTuple):
    place: str
    value: Any


def read_answers(path: Path) -> list[Numbered]:
    """The answers of a file or of a folder's files, each with its place.

    The first row of a file that a format recognises sets the format of the file, which is logged. In a folder, a file
    without such a row is left out with a warning.

    Raises:
        LwexpError: If nothing can be read, or a row is not of its file's format; it names the row's keys.
    """
    if path.is_file():
        return _answers(path, f"responses={path}", "")
    if not path.is_dir():
        raise LwexpError(f"responses={path}: the file does not exist (wanted: a file of answers, or a folder of them)")
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and _ending(file) in _ENDINGS]
    found: list[Numbered] = []
    for file in files:
        name = file.relative_to(path)
        try:
            found += _answers(file, f"responses={file}", f"{name} ")
        except _NoAnswersError as error:
            log.warning("%s: left out: %s", path, error)
    if not found:
        wanted = ", ".join(_ENDINGS)
        raise LwexpError(f"responses={path}: {plural(len(files), 'file')} in it, none with answers; wanted {wanted}")
    return found


class _NoAnswersError(LwexpError):
    """No row of a file is in a known format."""


def _answers(path: Path, origin: str, prefix: str) -> list[Numbered]:
    rows: list[tuple[str, JsonRow]] = []
    unstorable = Replaced()
    format: AnswerFormat | None = None
    for place, raw in _rows(path, origin):
        row, replaced = encodable_json(raw)
        unstorable.count(replaced, "rows")
        format = format or _format_of(row)
        if format is None or not isinstance(row, dict) or not format.detects(row):
            kind = _NoAnswersError if format is None else LwexpError
            raise kind(f"{origin} {place}: no answer {_wanted(row, format)}")
        rows.append((place, row))
    if format is None:
        raise _NoAnswersError(f"{origin}: the file has no answers")
    if unstorable:
        log.warning("%s: %s", path, unstorable)
    found = []
    for place, row in format.counted(rows):
        try:
            found += [Numbered(f"{prefix}{place}", answer) for answer in format.answers(row)]
        except BrokenRowError as error:
            raise LwexpError(f"{origin} {place}: {error}") from None
    log.info("%s: %s in the format of %s (%s)", path, plural(len(found), "answer"), format.tool, format.kind)
    return found


def _wanted(row: object, format: AnswerFormat | None) -> str:
    keys = ", ".join(map(str, row)) if isinstance(row, dict) else ""
    there = f"the row's keys are {keys:.200}" if keys else f"the row is {row!r:.60}"
    if format is not None:
        return f"in the format of {format.tool}, which the file's first row has; {there}"
    return f"in a known format; {there}; wanted prompt and response, or another format of docs/evaluation.md"


def _format_of(row: object) -> AnswerFormat | None:
    known = sorted((cls(kind=name) for name, cls in ANSWER_FORMATS.items()), key=lambda format: format.rank)
    return next((format for format in known if isinstance(row, dict) and format.detects(row)), None)


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _rows(path: Path, origin: str) -> Iterator[_Row]:
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise LwexpError(f"{origin}: cannot be unpacked as gzip: {error}") from None
    ending = _ending(path)
    if content.startswith(b"PAR1"):
        return _parquet_rows(content, origin)
    if ending == ".eval":
        return _inspect_rows(content, origin)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LwexpError(f"{origin}: is not UTF-8 text ({error}); save it as UTF-8") from None
    if ending in (".csv", ".tsv"):
        return _csv_rows(text, "," if ending == ".csv" else "\t")
    return _json_rows(text, origin)


def _json_rows(text: str, origin: str) -> Iterator[_Row]:
    """One value per line, or one JSON document: a list, an inspect_ai log, or OpenCompass's object of rows."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError):
            whole = None
        if isinstance(whole, list):
            yield from (_Row(f"row {number}", row) for number, row in enumerate(whole, start=1))
            return
        if isinstance(whole, dict) and isinstance(whole.get("samples"), list):
            yield from (_Row(f"sample {number}", row) for number, row in enumerate(whole["samples"], start=1))
            return
        if isinstance(whole, dict) and whole and all(key.isdigit() for key in whole):
            yield from (_Row(f"row {key}", row) for key, row in whole.items())
            return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _Row(f"line {number}", json.loads(line))
            except (ValueError, RecursionError) as error:
                raise LwexpError(f"{origin} line {number}: is not JSON: {error}") from None


def _csv_rows(text: str, delimiter: str) -> Iterator[_Row]:
    csv.field_size_limit(_LARGEST_CELL)
    for number, row in enumerate(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), start=1):
        # An empty answer is an answer; other empty cells are as good as absent.
        cells = {key: value for key, value in row.items() if key is not None and (value or key == "response")}
        yield _Row(
            f"row {number}",
            {key: int(value) if key in _NUMBERS and value.isdigit() else value for key, value in cells.items()},
        )


def _parquet_rows(content: bytes, origin: str) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowException as error:
        raise LwexpError(f"{origin}: is no Parquet file: {error}") from None
    for number, row in enumerate(rows, start=1):
        yield _Row(
            f"row {number}", {key: value for key, value in row.items() if value is not None or key == "response"}
        )


def _inspect_rows(content: bytes, origin: str) -> Iterator[_Row]:
    """The samples of a log in inspect_ai's own archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith("samples/") and name.endswith(".json"):
                    yield _Row(name, json.loads(archive.read(name)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        fix = "convert it with: inspect log convert --to json"
        raise LwexpError(f"{origin}: cannot be read as an inspect_ai log ({error}); {fix}") from None
