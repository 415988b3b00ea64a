"""The table of a pairs run, counted by hand."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lwexp.mix.pair_table import render, summarise
from lwexp.records import Failure, Message, PreferencePair, Prompt


def prompt(name: str, words: int) -> Prompt:
    return Prompt(id=name, text=name, language="en", type="t", required_words=words)


def pair(name: str, gap: float, chosen_words: int, rejected_words: int) -> PreferencePair:
    return PreferencePair(
        id=name, source="m", language="en", prompt=(Message(role="user", content=name),), chosen="c", rejected="r",
        chosen_score=90.0, rejected_score=90.0 - gap, chosen_words=chosen_words, rejected_words=rejected_words,
    )  # fmt: skip


def skip(name: str, reason: str) -> Failure:
    return Failure(id=name, stage="pairs", reason=reason, detail="d", attempts=4)


PROMPTS = [*(prompt(f"a{n}", 200) for n in range(5)), prompt("b0", 50), prompt("b1", 50)]
PAIRS = [pair("a0", 10, 100, 90), pair("a1", 20, 80, 90), pair("a2", 40, 90, 90), pair("a3", 30, 300, 90)]
SKIPPED = [skip("a4", "small_margin"), skip("b0", "no_length_match"), skip("b1", "small_margin")]


def test_lines_are_those_of_a_hand_count_and_add_up() -> None:
    """Gaps 10, 20, 30, 40: quartiles 17.5, 25, 32.5. Chosen words 80, 90, 100, 300: median 95."""
    low, high, everything = summarise(PROMPTS, PAIRS, SKIPPED)
    assert (low.label, low.prompts, low.kept, low.gaps, low.words) == ("50", 2, 0, None, None)
    assert low.skipped == {"no_length_match": 1, "small_margin": 1}
    assert (high.label, high.prompts, high.kept, high.skipped) == ("200", 5, 4, {"small_margin": 1})
    assert high.gaps == pytest.approx((17.5, 25, 32.5))
    assert (high.longer, high.shorter, high.same, high.words) == (2, 1, 1, (95, 90))
    assert (everything.prompts, everything.kept) == (7, 4)
    for line in (low, high, everything):
        assert line.prompts == line.kept + sum(line.skipped.values())


def test_many_lengths_are_shown_in_the_ranges_of_the_bench() -> None:
    """13 lengths from 400 to 5,200: 400 | 800 to 1,600 | 2,000 to 3,600 | 4,000 to 5,200."""
    prompts = [prompt(f"p{n}", 400 * n) for n in range(1, 14)]
    lines = summarise(prompts, [], [skip(row.id, "low_chosen") for row in prompts])
    assert [(line.label, line.prompts) for line in lines] == [
        ("0 to 499", 1), ("500 to 1,999", 3), ("2,000 to 3,999", 5), ("4,000 or more", 4), ("all", 13),
    ]  # fmt: skip


def test_it_fits_a_terminal_of_80_columns() -> None:
    console = Console(file=io.StringIO(), width=80)
    console.print(render(summarise(PROMPTS, PAIRS, SKIPPED)))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "25.0 (17.5 to 32.5)" in shown
    assert "no length match" in shown
    assert max(map(len, shown.splitlines())) <= 80
