"""Columns of a bench's rows, under lwexp's names or others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lwexp.records import LwexpError, TooDeepError, parse_json, read_json_lines, too_deep_at
from lwexp.text.plain import one_line

COLUMNS = ("prompt", "length", "type", "id", "language", "length_kind", "length_range")

Kind = Literal["about", "at_least", "at_most", "between"]
# "equal to" is LIFEBench's control_method.
RULES: dict[str, Kind] = {
    "about": "about", "equal to": "about", "at least": "at_least", "at most": "at_most", "between": "between",
}  # fmt: skip


def numbered_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Rows of JSON lines, or of a file that is one JSON list, numbered from 1."""
    if path.suffix == ".json":
        try:
            whole = parse_json(path.read_bytes())
        except TooDeepError:
            place = too_deep_at(path.read_text(encoding="utf-8-sig", errors="replace"))
            raise LwexpError(f"{path} is nested too deeply at {place}") from None
        except ValueError:
            whole = None
        if isinstance(whole, list):
            yield from enumerate(whole, start=1)
            return
    yield from read_json_lines(path)


def value_at(row: dict[str, Any], path: str) -> Any:
    """The value of a column, or of a key inside it: ``meta.words``; None if there is none."""
    if path in row:
        return row[path]
    value: Any = row
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def wanted_columns(row: object, columns: list[str]) -> str:
    """What a row needs, what it has, and how to name another column."""
    keys = one_line(", ".join(map(str, row)), 160) if isinstance(row, dict) else ""
    there = f"the row has {keys}" if keys else f"got {row!r:.60}"
    return (
        f"wanted {', '.join(columns)} and, optionally, type; {there}; if a column has another name, say so: "
        f"'bench.fields={{{columns[0]}: <its name>}}'"
    )
