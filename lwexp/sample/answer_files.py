"""Reads answer files: JSONL, JSON, CSV, Parquet, an inspect_ai log, each also as .gz, or a folder of them."""

import io
import logging
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.rows import ANSWER_FORMATS, AnswerFormat, RawRow
from lwexp.records import LwexpError, TooDeepError, parse_json, too_deep_at
from lwexp.rowfiles.csv_rows import read_csv
from lwexp.rowfiles.json_rows import read_jsonl
from lwexp.rowfiles.limits import EXCEL_CHARACTERS, MAX_DIGITS
from lwexp.rowfiles.packed import DAMAGED, PARQUET, is_gzip, open_plain, refuse_other_encodings
from lwexp.rowfiles.parquet_rows import read_parquet
from lwexp.sample.answer_formats.parts import ANSWER_COLUMNS
from lwexp.sample.pairing import Numbered
from lwexp.text.encodable import Replaced, encodable_json
from lwexp.text.plain import first_line, one_line, plural

log = logging.getLogger(__name__)

_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".eval")
_NUMBERS = ("length", "response_length", "required_words", "repeat")  # columns of a CSV that hold no text
_ANSWERS = (*ANSWER_COLUMNS, "predict")
_ODD_ROW = (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


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
        row, replaced = encodable_json(_without_nan(raw))
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
        except _ODD_ROW as error:
            problem = f"{type(error).__name__}: {first_line(error)}"
            raise LwexpError(f"{origin} {place}: is not a row as {format.tool} writes it ({problem})") from error
    if cut := sum(len(one.answer.text or "") == EXCEL_CHARACTERS for one in found):
        said = "answer has" if cut == 1 else "answers have"
        log.warning("%s: %d %s exactly %d characters, at which Excel cuts a cell", path, cut, said, EXCEL_CHARACTERS)
    log.info("%s: %s in the format of %s (%s)", path, plural(len(found), "answer"), format.tool, format.kind)
    return found


def _wanted(row: object, format: AnswerFormat | None) -> str:
    keys = one_line(", ".join(map(str, row)), 200) if isinstance(row, dict) else ""
    there = f"the row's keys are {keys}" if keys else f"the row is {row!r:.60}"
    if format is not None:
        return f"in the format of {format.tool}, which the file's first row has; {there}"
    return f"in a known format; {there}; wanted prompt and response, or another format of docs/evaluation.md"


def _format_of(row: object) -> AnswerFormat | None:
    known = sorted((cls(kind=name) for name, cls in ANSWER_FORMATS.items()), key=lambda format: format.rank)
    return next((format for format in known if isinstance(row, dict) and format.detects(row)), None)


def _ending(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _rows(path: Path, origin: str) -> Iterator[_Row]:
    """The rows of a file; one that cannot be read costs the whole file, because its answer would be missing."""
    ending = _ending(path)
    try:
        with open_plain(path, is_packed=is_gzip(path)) as packed:
            content = packed.read()
    except DAMAGED as error:
        raise LwexpError(f"{origin}: cannot be unpacked as gzip: {error}") from None
    if ending == ".eval":
        return _inspect_rows(content, origin)
    refuse_other_encodings(content[:4], origin)
    file = io.BytesIO(content)
    if content.startswith(PARQUET):
        return (row._replace(value=_filled(row.value)) for row in _whole(read_parquet(file, origin), origin))
    if ending in (".csv", ".tsv"):
        rows = read_csv(file, origin, delimiter="," if ending == ".csv" else "\t")
        return (_with_numbers(row) for row in _whole(rows, origin))
    return _json_rows(content, origin)


def _whole(rows: Generator[RawRow, None, None], origin: str) -> Iterator[_Row]:
    with closing(rows):
        for row in rows:
            place = row.place or f"{row.unit} {row.number}"
            if row.problem is not None:
                raise LwexpError(f"{origin} {place}: {row.problem}")
            yield _Row(place, row.value)


def _json_rows(content: bytes, origin: str) -> Iterator[_Row]:
    """One value per line, or one JSON document: a list, an inspect_ai log, an object of rows, or a single row."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LwexpError(f"{origin}: is not UTF-8 text ({error}); save it as UTF-8") from None
    if text.lstrip()[:1] in ("[", "{"):
        try:
            whole = parse_json(text)
        except TooDeepError:
            raise LwexpError(f"{origin} is nested too deeply at {too_deep_at(text)}") from None
        except ValueError as error:
            if re.match(r"\s*+(\[|\{(?=[^\S\n]*\n)\s*+\S)", text):  # not the start of JSON lines
                wanted = "wanted one JSON document, or an object on each line"
                raise LwexpError(f"{origin}: is not JSON: {first_line(error)}; {wanted}") from None
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
        if isinstance(whole, dict):
            rows = whole.get("data")
            if isinstance(rows, list) and _format_of(whole) is None:
                yield from (_Row(f"row {number}", row) for number, row in enumerate(rows, start=1))
            else:
                number = 1 + text[: text.index("{")].count("\n")
                yield _Row(f"line {number}", whole)
            return
    yield from _whole(read_jsonl(io.BytesIO(content), origin), origin)


def _with_numbers(row: _Row) -> _Row:
    """A row of CSV. An empty answer is an answer; any other empty cell counts as absent."""
    return row._replace(
        value={key: _number(text) if key in _NUMBERS else text for key, text in _filled(row.value).items()}
    )


def _number(text: str) -> int | float | str:
    """The number in a cell, which may be written as 600.0; any other text is returned unchanged."""
    whole = text.rstrip("0").removesuffix(".") if "." in text else text
    return int(whole) if whole.isdecimal() and len(whole) <= MAX_DIGITS else text  # isdigit() is true of "²", too


def _filled(cells: Mapping[str, Any]) -> dict[str, Any]:
    """The cells that are not empty, and the answer's cell even if it is: other text beside it is not the answer."""
    filled = {key: value for key, value in cells.items() if value not in (None, "") or key == "response"}
    answer = next((key for key in _ANSWERS if key in cells), None)
    if answer is not None and not any(key in filled for key in _ANSWERS):
        filled[answer] = cells[answer]
    return filled


def _without_nan(row: object) -> object:
    """With null in place of each NaN, which pandas writes for a missing value."""
    if not isinstance(row, dict):
        return row
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in row.items()}


def _inspect_rows(content: bytes, origin: str) -> Iterator[_Row]:
    """The samples of a log in inspect_ai's own archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in sorted(archive.namelist()):
                if name.startswith("samples/") and name.endswith(".json"):
                    yield _Row(name, parse_json(archive.read(name)))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        fix = "convert it with: inspect log convert --to json"
        raise LwexpError(f"{origin}: cannot be read as an inspect_ai log ({error}); {fix}") from None
