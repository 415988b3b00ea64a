"""A table of the pairs that a run kept: for each length, how far a pair's answers differ in score and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lwexp.records import Failure, PreferencePair, Prompt

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_MOST_LENGTHS = 12  # up to this many lengths get a row each; with more, rows are LongBench-Write's ranges
_RANGE_STARTS = (0, 500, 2_000, 4_000)


class Line(NamedTuple):
    """One row of the table: the prompts of a required length."""

    label: str
    prompts: int
    skipped: dict[str, int]
    """Reason -> number of prompts."""
    gaps: tuple[float, float, float] | None
    """Quartiles of chosen score minus rejected score; None without pairs."""
    longer: int
    """Pairs whose chosen answer has more words than the rejected one."""
    shorter: int
    same: int
    words: tuple[float, float] | None
    """Median words of the chosen and of the rejected answers."""

    @property
    def kept(self) -> int:
        return self.longer + self.shorter + self.same


def summarise(prompts: Sequence[Prompt], pairs: Sequence[PreferencePair], failures: Sequence[Failure]) -> list[Line]:
    """One line for each required length or range of lengths that has prompts, then one for all.

    Args:
        prompts: All prompts that were sampled.
        pairs: At most one per prompt, with the prompt's id.
        failures: One for each other prompt, with the prompt's id.
    """
    lengths = sorted((prompt.required_words or 0, prompt.id) for prompt in prompts)
    one_each = len({length for length, _ in lengths}) <= _MOST_LENGTHS
    groups: dict[str, set[str]] = {}
    for length, id in lengths:
        groups.setdefault(f"{length:,}" if one_each else _range_of(length), set()).add(id)
    groups["all"] = {id for _, id in lengths}
    return [
        _line(label, len(ids), [pair for pair in pairs if pair.id in ids], [f for f in failures if f.id in ids])
        for label, ids in groups.items()
    ]


def _range_of(length: int) -> str:
    low = max(start for start in _RANGE_STARTS if start <= length)
    above = [start for start in _RANGE_STARTS if start > length]
    return f"{low:,} to {above[0] - 1:,}" if above else f"{low:,} or more"


def _line(label: str, prompts: int, pairs: Sequence[PreferencePair], failures: Sequence[Failure]) -> Line:
    scores = [(pair.chosen_score, pair.rejected_score) for pair in pairs]
    gaps = [chosen - rejected for chosen, rejected in scores if chosen is not None and rejected is not None]
    quartiles = [float(gap) for gap in np.percentile(gaps, (25, 50, 75))] if gaps else None
    sides = np.array([(pair.chosen_words, pair.rejected_words) for pair in pairs]).reshape(-1, 2)
    medians = [float(words) for words in np.median(sides, axis=0)] if pairs else None
    signs = Counter(int(sign) for sign in np.sign(sides[:, 0] - sides[:, 1]))
    return Line(
        label=label, prompts=prompts, skipped=dict(Counter(failure.reason for failure in failures).most_common()),
        gaps=(quartiles[0], quartiles[1], quartiles[2]) if quartiles else None,
        longer=signs[1], shorter=signs[-1], same=signs[0],
        words=(medians[0], medians[1]) if medians else None,
    )  # fmt: skip


def render(lines: Sequence[Line]) -> Group:
    """Lay out the lines for the terminal: the kept pairs, and below them the skipped prompts by reason."""
    from rich.console import Group

    kept = _table(
        "Pairs by required words", ("prompts", "pairs", "gap", "longer", "shorter", "same", "words"),
        "gap: chosen minus rejected score, median (quartiles). longer, shorter, same: words of chosen against "
        "rejected. words: medians of chosen and rejected.",
    )  # fmt: skip
    reasons = list(dict.fromkeys(reason for line in lines for reason in line.skipped))
    skipped = _table("Prompts without a pair", [reason.replace("_", " ") for reason in reasons])
    for line in lines:
        if line.label == "all":
            kept.add_section()
            skipped.add_section()
        counts = [f"{count:,}" for count in (line.prompts, line.kept, line.longer, line.shorter, line.same)]
        gap = "{1:.1f} ({0:.1f} to {2:.1f})".format(*line.gaps) if line.gaps else "-"
        words = "{:,.0f}, {:,.0f}".format(*line.words) if line.words else "-"
        kept.add_row(line.label, *counts[:2], gap, *counts[2:], words)
        skipped.add_row(line.label, *(f"{line.skipped.get(reason, 0):,}" for reason in reasons))
    return Group(kept, skipped) if reasons else Group(kept)


def _table(title: str, headings: Sequence[str], caption: str | None = None) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", title_style="bold", caption=caption, caption_justify="left",
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False,
    )  # fmt: skip
    table.add_column("asked", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
