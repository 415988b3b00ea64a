"""From raw rows to records: the format is found once a file, every broken row is reported with its number."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from lwexp.extend.columns import BrokenRowError, require_object
from lwexp.extend.rows import AutoFormat, AutoPairFormat, PairFormat, RawRow, RowFormat, format_of
from lwexp.extend.training_rows import R, TrainingRows
from lwexp.mix.to_records import to_conversation, to_pair
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair, first_problem

_AUTO, _AUTO_PAIR = AutoFormat(), AutoPairFormat()


def holds_pair(row: object) -> bool:
    """Whether a row's columns tell a format of preference pairs."""
    return format_of(row, _AUTO_PAIR) is not None


def parse_conversations(
    rows: Iterable[RawRow], *, origin: Path | str, name: str, format: RowFormat = _AUTO
) -> Iterator[Conversation | Failure]:
    """Turn raw rows into conversations, and each broken one into a failure, in order.

    Args:
        rows: In file order.
        origin: File or set they come from, for the messages.
        name: Source name; ids are ``<name>-<row number>``.
        format: auto takes the first format that a row tells, for the whole file.

    Raises:
        LwexpError: If the rows are preference pairs.
    """
    known: RowFormat | None = None

    def read(row: object, id: str) -> Conversation:
        nonlocal known
        if known is None and format.kind == "auto" and holds_pair(row):
            raise LwexpError(_pairs_found(origin, name))
        known = known or format_of(row, format)
        if known is None:
            raise BrokenRowError("missing_field", "messages, conversations or instruction is missing")
        return to_conversation(row, known, id=id, source=name)

    return _parsed(rows, read, origin, name)


def parse_pairs(
    rows: Iterable[RawRow], *, origin: Path | str, name: str, format: PairFormat = _AUTO_PAIR
) -> Iterator[PreferencePair | Failure]:
    """Turn raw rows into preference pairs, and each broken one into a failure, in order."""
    known: PairFormat | None = None

    def read(row: object, id: str) -> PreferencePair:
        nonlocal known
        known = known or format_of(row, format)
        if known is None:
            raise BrokenRowError("missing_field", "chosen or rejected (ms-swift: rejected_response) is missing")
        return to_pair(row, known, id=id, source=name)

    return _parsed(rows, read, origin, name)


def parse_rows(
    rows: Iterable[RawRow], kind: TrainingRows[R], *, origin: Path | str, name: str
) -> Iterator[R | Failure]:
    """Turn raw rows into those that an objective of a plugin takes, and each broken one into a failure, in order."""

    def read(row: object, id: str) -> R:
        try:
            return kind.parse(require_object(row), id=id, source=name)
        except ValidationError as error:
            raise BrokenRowError("broken_row", first_problem(error)) from None

    return _parsed(rows, read, origin, name)


def _parsed(
    rows: Iterable[RawRow], read: Callable[[object, str], R], origin: Path | str, name: str
) -> Iterator[R | Failure]:
    for raw in rows:
        id = f"{name}-{raw.number}"
        try:
            if raw.problem is not None:
                raise BrokenRowError("not_json", raw.problem)
            yield read(raw.value, id)
        except BrokenRowError as error:
            detail = f"{origin} {raw.unit} {raw.number}: {error}"
            yield Failure(id=id, stage="mix", reason=error.reason, detail=detail, attempts=1)


def _pairs_found(origin: Path | str, name: str) -> str:
    return (
        f"{origin} holds preference pairs, not conversations; for DPO: "
        f"'+mixture.pairs.{name}={{kind: file, path: {origin}}}'; for SFT on the chosen answers: "
        f"python generate_data.py task=import source={origin}"
    )
