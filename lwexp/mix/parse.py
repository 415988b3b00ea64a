"""Turns raw rows into records: the format is detected once per file, and a broken row is reported with its number."""

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from lwexp.extend.columns import BrokenRowError, require_object
from lwexp.extend.rows import AutoFormat, AutoPairFormat, F, PairFormat, RawRow, RowFormat, format_of
from lwexp.extend.training_rows import R, TrainingRows
from lwexp.mix.to_records import to_conversation, to_pair
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair, first_problem
from lwexp.text.encodable import Replaced, encodable, encodable_json

log = logging.getLogger(__name__)

_AUTO, _AUTO_PAIR = AutoFormat(), AutoPairFormat()


def holds_pairs(rows: Iterable[object]) -> bool:
    """Whether the first row that any format recognises is a preference pair."""
    for row in rows:
        if _is_pair(row):
            return True
        if format_of(row, _AUTO) is not None:
            return False
    return False


def _is_pair(row: object) -> bool:
    return format_of(row, _AUTO_PAIR) is not None


def parse_conversations(
    rows: Iterable[RawRow], *, origin: Path | str, name: str, format: RowFormat = _AUTO
) -> Iterator[Conversation | Failure]:
    """Turn raw rows into conversations, and each broken one into a failure, in order.

    Args:
        rows: In file order.
        origin: File or set they come from, for the messages.
        name: Source name; ids are ``<name>-<row number>``.
        format: With auto, the format of the first recognised row is used for the whole file.

    Raises:
        LwexpError: If the rows are preference pairs.
    """

    def refuse_pairs(row: object) -> None:
        if format.kind == "auto" and _is_pair(row):
            raise LwexpError(
                f"{origin} holds preference pairs, not conversations; for DPO: "
                f"'+mixture.pairs.{name}={{kind: file, path: {origin}}}'; for SFT on the chosen answers: "
                f"python generate_data.py task=import source={origin}"
            )

    missing = "messages, conversations or instruction is missing"
    return _parsed(rows, _reader(format, _AUTO, to_conversation, name, missing, refuse_pairs), origin, name)


def parse_pairs(
    rows: Iterable[RawRow], *, origin: Path | str, name: str, format: PairFormat = _AUTO_PAIR
) -> Iterator[PreferencePair | Failure]:
    """Like ``parse_conversations``, for preference pairs."""
    missing = "chosen or rejected (ms-swift: rejected_response) is missing"
    return _parsed(rows, _reader(format, _AUTO_PAIR, to_pair, name, missing), origin, name)


def parse_rows(
    rows: Iterable[RawRow], kind: TrainingRows[R], *, origin: Path | str, name: str
) -> Iterator[R | Failure]:
    """Like ``parse_conversations``, for the rows that a plugin's objective trains on."""

    def read(row: object, id: str) -> R:
        try:
            return kind.parse(require_object(row), id=id, source=name)
        except ValidationError as error:
            raise BrokenRowError("broken_row", first_problem(error)) from None

    return _parsed(rows, read, origin, name)


def _reader(
    wanted: F,
    auto: F,
    convert: Callable[..., R],
    source: str,
    missing: str,
    check_first: Callable[[object], None] = lambda row: None,
) -> Callable[[object, str], R]:
    """Make a function that reads a row. The first format that it recognises is used for all later rows; until then,
    ``check_first`` is called with each row.

    A row that a named format cannot read is compared with the other formats, because the name may be the mistake.
    """
    known: F | None = None

    def read(row: object, id: str) -> R:
        nonlocal known
        if known is None:
            check_first(row)
            known = format_of(row, wanted)
        if known is None:
            raise BrokenRowError("missing_field", missing)
        try:
            return convert(row, known, id=id, source=source)
        except BrokenRowError as error:
            likely = None if wanted.kind == "auto" else format_of(row, auto)
            if likely is None or likely.kind == wanted.kind:
                raise
            problem = f"{error}; this row is in format {likely.kind}, not {wanted.kind}"
            raise BrokenRowError(error.reason, problem) from None

    return read


def _parsed(
    rows: Iterable[RawRow], read: Callable[[object, str], R], origin: Path | str, name: str
) -> Iterator[R | Failure]:
    unstorable = Replaced()
    for raw in rows:
        id = f"{name}-{raw.number}"
        try:
            if raw.problem is not None:
                raise BrokenRowError("not_json", raw.problem)
            yield read(_storable(raw.value, unstorable), id)
        except BrokenRowError as error:
            detail = encodable(f"{origin} {raw.place or f'{raw.unit} {raw.number}'}: {error}").value
            yield Failure(id=id, stage="mix", reason=error.reason, detail=detail, attempts=1)
    if unstorable:
        log.warning("%s: %s", encodable(str(origin)).value, unstorable)


def _storable(row: object, unstorable: Replaced) -> object:
    try:
        value, replaced = encodable_json(row)
    except RecursionError:
        raise BrokenRowError("wrong_type", "is nested too deeply to be a row") from None
    unstorable.count(replaced, "rows")
    return value
