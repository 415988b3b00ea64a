"""What a pairs run kept: by required length, how far apart the answers of a pair are in score and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lwexp.records import Failure, PreferencePair, Prompt

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

_MOST_LENGTHS = 12  # rows of one length each; where more are asked for, the ranges of LongBench-Write are the rows
_RANGES = ((0, 500), (500, 2_000), (2_000, 4_000), (4_000, None))


class Line(NamedTuple):
    """One row: the prompts of a required length."""

    label: str
    prompts: int
    skipped: dict[str, int]
    """Reason -> prompts."""
    gaps: tuple[float, float, float] | None
    """Quartiles of chosen score less rejected score; None without pairs."""
    longer: int
    """Pairs whose chosen answer has more words than the rejected one."""
    shorter: int
    same: int
    words: tuple[float, float] | None
    """Median words of the chosen and of the rejected answers."""

    @property
    def kept(self) -> int:
        """Pairs."""
        return self.longer + self.shorter + self.same


def summarise(prompts: Sequence[Prompt], pairs: Sequence[PreferencePair], failures: Sequence[Failure]) -> list[Line]:
    """A line for each required length or range of them that has prompts, and last one for all.

    Args:
        prompts: All that were asked.
        pairs: At most one a prompt, under its id.
        failures: The others, under their ids.
    """
    lengths = {prompt.id: prompt.required_words or 0 for prompt in prompts}
    label = _labels(set(lengths.values()))
    of = {id: label[length] for id, length in lengths.items()}
    lines = [
        _line(
            name,
            sum(at == name for at in of.values()),
            [pair for pair in pairs if of[pair.id] == name],
            [failure for failure in failures if of[failure.id] == name],
        )
        for name in dict.fromkeys(label[length] for length in sorted(label))
    ]
    return [*lines, _line("all", len(prompts), pairs, failures)]


def _labels(lengths: set[int]) -> Mapping[int, str]:
    """Required length -> the row it belongs to."""
    if len(lengths) <= _MOST_LENGTHS:
        return {length: f"{length:,}" for length in lengths}
    return {
        length: f"{low:,} or more" if high is None else f"{low:,} to {high - 1:,}"
        for length in lengths
        for low, high in _RANGES
        if length >= low and (high is None or length < high)
    }


def _line(label: str, prompts: int, pairs: Sequence[PreferencePair], failures: Iterable[Failure]) -> Line:
    gaps = [
        pair.chosen_score - pair.rejected_score
        for pair in pairs
        if pair.chosen_score is not None and pair.rejected_score is not None
    ]
    sides = [(pair.chosen_words, pair.rejected_words) for pair in pairs]
    low, middle, high = np.percentile(gaps, (25, 50, 75)) if gaps else (0, 0, 0)
    return Line(
        label=label,
        prompts=prompts,
        skipped=dict(Counter(failure.reason for failure in failures).most_common()),
        gaps=(float(low), float(middle), float(high)) if gaps else None,
        longer=sum(chosen > rejected for chosen, rejected in sides),
        shorter=sum(chosen < rejected for chosen, rejected in sides),
        same=sum(chosen == rejected for chosen, rejected in sides),
        words=(float(np.median([c for c, _ in sides])), float(np.median([r for _, r in sides]))) if sides else None,
    )


def render(lines: Sequence[Line]) -> Group:
    """The lines for the terminal: what was kept, and below it what was skipped for which reason."""
    from rich.console import Group

    kept = _table(
        "Pairs by required words", ("prompts", "pairs", "gap", "longer", "shorter", "same", "words"),
        "gap: chosen less rejected score, median (quartiles). longer, shorter, same: words of chosen against rejected. "
        "words: medians of chosen and rejected.",
    )  # fmt: skip
    reasons = list(dict.fromkeys(reason for line in lines for reason in line.skipped))
    skipped = _table("Prompts without a pair", [reason.replace("_", " ") for reason in reasons])
    for line in lines:
        if line.label == "all":
            kept.add_section()
            skipped.add_section()
        kept.add_row(
            line.label, f"{line.prompts:,}", f"{line.kept:,}", _gap(line), f"{line.longer:,}", f"{line.shorter:,}",
            f"{line.same:,}", f"{line.words[0]:,.0f}, {line.words[1]:,.0f}" if line.words else "-",
        )  # fmt: skip
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


def _gap(line: Line) -> str:
    if line.gaps is None:
        return "-"
    low, middle, high = line.gaps
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"
