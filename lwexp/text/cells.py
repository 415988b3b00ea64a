"""Markdown and CSV tables that are safe for text from outside."""

import csv
import io
import re
from collections.abc import Iterable

from lwexp.text.plain import one_line, visible

# Characters that start a formula in a spreadsheet, also after white space.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def csv_cell(value: object) -> object:
    """Make a cell that no spreadsheet runs: text that could be a formula gets a leading apostrophe.

    Numbers stay numbers (a negative number is not a formula); None becomes an empty cell, not zero.
    """
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    text = visible(str(value))
    return "'" + text if _FORMULA.match(text) or text[:1] in ("\t", "\n") else text


def csv_table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Text of a CSV file; every cell goes through ``csv_cell``."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([csv_cell(value) for value in row] for row in (head, *rows))
    return out.getvalue()


def markdown_cell(value: object, limit: int = 200) -> str:
    """A cell without HTML, links or emphasis that cannot break out of its table."""
    text = one_line(str(value), limit)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!~])", r"\\\1", text)


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]], *, align: str = "") -> str:
    """A table of cells that are already Markdown. ``align`` has l or r for each column; missing letters mean l."""
    titles = list(head)
    rules = ["--:" if align[n : n + 1] == "r" else ":--" for n in range(len(titles))]
    lines = ["| " + " | ".join(cells) + " |" for cells in (titles, *rows)]
    return "\n".join([lines[0], "|" + "|".join(rules) + "|", *lines[1:]])
