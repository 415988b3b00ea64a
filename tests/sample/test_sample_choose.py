"""Which token is chosen, calculated by hand for the probabilities 1/2, 1/4, 1/8, 1/8."""

import pytest
import torch

from lwexp.sample.choose import choose_tokens, penalise_repeats

LOGITS = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64).log()


def choose(draws: list[float], *, temperature: float = 1, top_p: float = 1, top_k: int = 0) -> list[int]:
    rows = LOGITS.expand(len(draws), 4)
    drawn = torch.tensor(draws, dtype=torch.float64)
    chosen: list[int] = choose_tokens(rows, drawn, temperature=temperature, top_p=top_p, top_k=top_k).tolist()
    return chosen


def test_a_draw_falls_into_its_tokens_part_of_the_unit_interval() -> None:
    assert choose([0.0, 0.49, 0.51, 0.74, 0.76, 0.86, 0.88, 1 - 1e-12]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_temperature_sharpens() -> None:
    """At 0.5 the probabilities are squared: 16, 4, 1, 1 of 22, so the first ends at 0.727."""
    assert choose([0.72, 0.73, 0.90, 0.92], temperature=0.5) == [0, 1, 1, 2]


def test_temperature_zero_takes_the_largest_whatever_the_draw() -> None:
    assert choose([0.0, 0.99], temperature=0) == [0, 0]


def test_top_k_keeps_the_k_most_likely() -> None:
    """Two are left: 1/2 and 1/4, so the first ends at 2/3."""
    assert choose([0.66, 0.67, 0.999], top_k=2) == [0, 1, 1]
    assert choose([0.999], top_k=1) == [0]


@pytest.mark.parametrize(("top_p", "last"), [(0.4, 0), (0.5, 0), (0.51, 1), (0.75, 1), (0.76, 2), (1.0, 3)])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p: float, last: int) -> None:
    assert choose([1 - 1e-9], top_p=top_p) == [last]


def test_top_p_counts_what_top_k_has_left() -> None:
    """After top_k=2 the first has 2/3, so top_p=0.6 keeps it alone; without top_k it has 1/2 and is not enough."""
    assert choose([0.999], top_k=2, top_p=0.6) == [0]
    assert choose([0.999], top_p=0.6) == [1]


def test_order_of_the_vocabulary_does_not_matter_to_the_filters() -> None:
    logits = LOGITS.flip(0)[None]  # the likely ones come last
    one = torch.tensor([0.999], dtype=torch.float64)
    assert choose_tokens(logits, one, temperature=1, top_p=1, top_k=2).tolist() == [2]
    assert choose_tokens(logits, one * 0, temperature=1, top_p=1, top_k=2).tolist() == [3]


def test_an_impossible_token_is_never_picked() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    draws = torch.tensor([0.0, 0.4999999, 0.5, 1 - 1e-16], dtype=torch.float64)
    chosen = choose_tokens(logits.expand(4, 5), draws, temperature=1, top_p=1, top_k=0)
    assert chosen.tolist() == [1, 1, 3, 3]


def test_a_penalty_above_one_lowers_seen_logits_of_either_sign() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    seen = torch.tensor([[True, True, False, False]])
    assert penalise_repeats(logits, seen, 2.0).tolist() == [[1.0, -4.0, 2.0, -2.0]]
