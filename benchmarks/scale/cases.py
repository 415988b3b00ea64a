"""What is measured, at which sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.scale import answers, rows, trials

Work = Callable[[int, Path], Mapping[str, float]]


class Case(NamedTuple):
    """One measurement."""

    unit: str
    sizes: tuple[int, int]
    at: int
    """The size that time and memory are extrapolated to."""
    start: Callable[[], Work]
    """Imports what the work needs, and returns the work, which returns further numbers."""
    prepare: Callable[[int, Path], object] = lambda size, folder: None
    """Writes the input, in another process."""
    least: int = 2


CASES = {
    "import": Case("rows", (100_000, 1_000_000), 100_000_000, rows.imported, rows.many_rows),
    "import_row": Case("MB in one row", (20, 200), 1_000, rows.imported, rows.one_row),
    "import_row_zh": Case("MB in one Chinese row", (20, 200), 1_000, rows.imported, rows.one_chinese_row),
    "mixture": Case("rows", (50_000, 500_000), 100_000_000, rows.mixed, rows.many_rows),
    "packing": Case("lengths", (200_000, 2_000_000), 100_000_000, rows.packed, least=1_000),
    "drafts": Case("drafts", (300, 3_000), 1_000_000, answers.drafted),
    "ledger": Case("answers", (100_000, 1_000_000), 10_000_000, answers.stored),
    "report": Case("models x 1,000 answers", (5, 50), 500, answers.compared, answers.evaluations),
    "sweep": Case("trials", (20, 200), 2_000, trials.swept, trials.finished_run),
}
"""A million drafts are about ten million answers: a plan and nine paragraphs each."""
