"""From raw rows to rows of ours: the shape is found once a file, every broken row is reported with its number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from lwexp.mix.files import RawRow
from lwexp.mix.pair_shapes import PairShape, detect_pair_shape, to_pair
from lwexp.mix.shapes import BrokenRowError, Shape, detect_shape, to_conversation
from lwexp.records import Conversation, Failure, LwexpError, PreferencePair

Format = Literal["auto", "messages", "sharegpt", "alpaca"]


def parse_conversations(
    rows: Iterable[RawRow], *, origin: Path | str, name: str, format: Format
) -> Iterator[Conversation | Failure]:
    """Turn raw rows into conversations, and each broken one into a failure, in order.

    Args:
        rows: In file order.
        origin: File or set they come from, for the messages.
        name: Source name; ids are ``<name>-<row number>``.
        format: auto takes the shape of the first row that tells one, for the whole file.

    Raises:
        LwexpError: If the rows are preference pairs.
    """
    shape: Shape | None = None if format == "auto" else format
    for raw in rows:
        try:
            value = _parsed(raw)
            if shape is None:
                _refuse_pairs(value, origin, name)
                shape = detect_shape(value)
            if shape is None:
                raise BrokenRowError("missing_field", "messages, conversations or instruction is missing")
            yield to_conversation(value, shape, id=f"{name}-{raw.number}", source=name)
        except BrokenRowError as error:
            yield _failure(raw, error, origin, name)


def parse_pairs(rows: Iterable[RawRow], *, origin: Path | str, name: str) -> Iterator[PreferencePair | Failure]:
    """Turn raw rows into preference pairs, and each broken one into a failure, in order."""
    shape: PairShape | None = None
    for raw in rows:
        try:
            value = _parsed(raw)
            shape = shape or detect_pair_shape(value)
            if shape is None:
                raise BrokenRowError("missing_field", "chosen or rejected (ms-swift: rejected_response) is missing")
            yield to_pair(value, shape, id=f"{name}-{raw.number}", source=name)
        except BrokenRowError as error:
            yield _failure(raw, error, origin, name)


def _parsed(raw: RawRow) -> object:
    if raw.problem is not None:
        raise BrokenRowError("not_json", raw.problem)
    return raw.value


def _failure(raw: RawRow, error: BrokenRowError, origin: Path | str, name: str) -> Failure:
    return Failure(
        id=f"{name}-{raw.number}",
        stage="mix",
        reason=error.reason,
        detail=f"{origin} {raw.unit} {raw.number}: {error}",
        attempts=1,
    )


def _refuse_pairs(value: object, origin: Path | str, name: str) -> None:
    if detect_pair_shape(value) is not None:
        raise LwexpError(
            f"{origin} holds preference pairs, not conversations; for DPO: "
            f"'+mixture.pairs.{name}={{kind: file, path: {origin}, count: null, on_bad_row: skip}}'; for SFT on the "
            f"chosen answers: python generate_data.py task=import source={origin}"
        )
