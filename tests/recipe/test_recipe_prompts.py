"""Which instructions a pairs run answers."""

import pytest

from lwexp.config import compose
from lwexp.config.data import SyntheticInstructions
from lwexp.generate.instructions import load_instructions
from lwexp.mix.pair_prompts import take_lengths_in_turn
from lwexp.recipe.pairs import _prompts
from lwexp.records import LwexpError, Prompt


def prompt(name: str, words: int) -> Prompt:
    return Prompt(id=name, text=name, language="en", type="t", required_words=words)


def test_lengths_take_turns_shortest_first():
    """Four of {100: a b c, 50: d, 200: e}: one of 50, 100, 200, and again 100, because 50 has no more."""
    rows = [prompt("a", 100), prompt("b", 100), prompt("d", 50), prompt("e", 200), prompt("c", 100)]

    assert [row.id for row in take_lengths_in_turn(rows, 4)] == ["d", "a", "e", "b"]


def test_more_than_there_are_is_refused_with_both_numbers():
    with pytest.raises(LwexpError, match=r"count=3: .* only 1 single-turn"):
        take_lengths_in_turn([prompt("a", 100)], 3)
    with pytest.raises(LwexpError, match=r"not trained on single-turn .* pairs\.instructions\.kind=file"):
        take_lengths_in_turn([], 3)


def test_synthetic_pair_instructions_are_not_those_of_the_drafts():
    config = compose("experiment=miniature")
    synthetic = config.generate.instructions
    assert isinstance(synthetic, SyntheticInstructions)
    drafts = {row.text for row in load_instructions(synthetic, seed=config.seed)}

    answered = {row.text for row in _prompts(config, [])}

    assert len(answered & drafts) / len(answered) < 0.25  # the same topics, lengths and phrasings may meet by chance
    assert {row.text for row in load_instructions(synthetic, seed=config.seed)} == drafts
