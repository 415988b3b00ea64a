"""Plans that came as a table or as JSON, rewritten into lines of the paper's form."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_FENCE = re.compile(r"^\s*```[\w-]*\s*$", re.MULTILINE)
_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_COUNT_NAME = re.compile(r"word|length|字数|篇幅", re.IGNORECASE)
_INDEX_NAME = re.compile(
    r"^\W*(?:#|no\.?|number|id|index|(?:paragraph|section|step|part|chapter)(?:[_\s]*(?:number|no\.?|id))?|段落?|序号|编号|部分|章节)?\W*$",
    re.IGNORECASE,
)
_TOTAL = re.compile(r"^\W*(?:total|sum|overall|合计|总计|总|共计)", re.IGNORECASE)


def as_lines(text: str) -> str:
    """The text with its tables and JSON turned into ``Paragraph 1 - Main Point: ... - Word Count: ...`` lines.

    Anything else stays as it is, without the lines that open and close a code fence.
    """
    bare = _FENCE.sub("", text).strip()
    if bare.startswith(("[", "{")) and (steps := _json_steps(bare)):
        return "\n".join(steps)
    return "\n".join(_without_tables(bare.splitlines()))


def _line(number: int, point: str, count: object) -> str:
    line = f"Paragraph {number} - Main Point: {point or '(no point given)'}"
    return line if count in (None, "") else f"{line} - Word Count: {count}"


def _json_steps(text: str) -> list[str]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        import json_repair

        value = json_repair.loads(text)
    rows = next(_lists_of_objects(value), [])
    return [_json_line(number, row) for number, row in enumerate(rows, 1)]


def _lists_of_objects(value: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _lists_of_objects(item)


def _json_line(number: int, row: Mapping[str, Any]) -> str:
    count = next((value for name, value in row.items() if _COUNT_NAME.search(name)), None)
    points = [
        str(value)
        for name, value in row.items()
        if not _COUNT_NAME.search(name) and not _INDEX_NAME.match(name) and isinstance(value, str)
    ]
    return _line(number, ": ".join(points), count)


def _without_tables(lines: Sequence[str]) -> Iterator[str]:
    """Lines as they are, with each table (a header, a rule, rows) rewritten."""
    at, number = 0, 0
    while at < len(lines):
        if at + 1 < len(lines) and "|" in lines[at] and _RULE.match(lines[at + 1]):
            header = _cells(lines[at])
            at += 2
            while at < len(lines) and "|" in lines[at]:
                cells = _cells(lines[at])
                at += 1
                if any(_TOTAL.match(cell) for cell in cells[:2]) or not any(cells):
                    continue
                number += 1
                yield _table_line(number, header, cells)
        else:
            yield lines[at]
            at += 1


def _table_line(number: int, header: Sequence[str], cells: Sequence[str]) -> str:
    named = list(zip(header, cells, strict=False))
    count = next((cell for name, cell in named if _COUNT_NAME.search(name)), None)
    points = [cell for name, cell in named if cell and not _COUNT_NAME.search(name) and not _INDEX_NAME.match(name)]
    return _line(number, ": ".join(points), count)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").replace("**", "").split("|")]
