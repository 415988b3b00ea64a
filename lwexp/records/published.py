"""Published results, each with its source. Values published only as an image are listed as None."""

from collections import Counter
from pathlib import Path

from lwexp.records.evaluation import PublishedCell
from lwexp.records.files import read_rows
from lwexp.records.rows import LwexpError

_FILE = Path(__file__).with_name("published.jsonl")
_NEEDS_JUDGE = {"S_l": False, "max_words": False, "S_q": True, "S_bar": True}  # not checked for other metrics
_HIGHEST = {"S_l": 100, "S_q": 100, "S_bar": 100, "max_words": 1_000_000}


def published_cells(path: Path = _FILE) -> list[PublishedCell]:
    """All cells, in the file's order.

    Raises:
        LwexpError: If a cell is repeated, has no source, is off its scale, or names a judge for a metric without one.
    """
    cells = list(read_rows(path, PublishedCell))
    for number, cell in enumerate(cells, start=1):
        if problem := _problem(cell):
            raise LwexpError(f"{path} line {number}: {cell.model}, {cell.metric}: {problem}")
    counts = Counter((cell.model, cell.bench, cell.range, cell.metric, cell.source) for cell in cells)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise LwexpError(f"{path}: the cell {twice[0]} is repeated")
    return cells


def _problem(cell: PublishedCell) -> str | None:
    if not cell.source.strip() or not cell.setup.strip():
        return "source and setup must not be empty"
    if cell.value is not None and cell.metric in _HIGHEST and not 0 <= cell.value <= _HIGHEST[cell.metric]:
        return f"{cell.value} is off the scale"
    if (cell.judge is not None) != _NEEDS_JUDGE.get(cell.metric, cell.judge is not None):
        return "a judge belongs to S_q and S_bar (write unknown if it is not named), not to S_l and max_words"
    return None
