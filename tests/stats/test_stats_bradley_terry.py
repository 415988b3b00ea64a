"""Bradley-Terry scores against closed forms."""

from math import log10

import pytest

from lwexp.records import LwexpError
from lwexp.stats.bradley_terry import Game, ratings


def played(first: str, second: str, won: int, tied: int, lost: int, start: int = 0) -> list[Game]:
    scores = [1.0] * won + [0.5] * tied + [0.0] * lost
    return [Game(f"p{start + n}", first, second, score) for n, score in enumerate(scores)]


def test_two_models_differ_by_the_logarithm_of_their_odds() -> None:
    """30 won and 10 lost are odds of 3: 400 log10(3) = 190.85 points, half above and half below 1000."""
    best, worst = ratings(played("a", "b", 28, 4, 8), prior=0)
    assert (best.model, worst.model, best.games) == ("a", "b", 40)
    assert best.score - worst.score == pytest.approx(400 * log10(3), abs=1e-6)
    assert best.score + worst.score == pytest.approx(2000)
    assert worst.interval[0] < worst.score < worst.interval[1] < best.interval[0] + 400


def test_consistent_odds_of_three_models_are_found() -> None:
    """Odds a:b = 2, b:c = 3 and a:c = 6 fit strengths 6, 3, 1 exactly."""
    games = [*played("a", "b", 20, 0, 10), *played("b", "c", 30, 0, 10), *played("a", "c", 60, 0, 10)]
    found = {rating.model: rating.score for rating in ratings(games, prior=0)}
    assert found["a"] - found["b"] == pytest.approx(400 * log10(2), abs=1e-4)
    assert found["b"] - found["c"] == pytest.approx(400 * log10(3), abs=1e-4)


def test_a_model_that_won_every_game_has_a_finite_score() -> None:
    """Half a win for each side beside 10 wins: odds 10.5 to 0.5, 400 log10(21) = 528.9 points."""
    best, worst = ratings(played("a", "b", 10, 0, 0))
    assert best.score - worst.score == pytest.approx(400 * log10(21), abs=1e-6)


def test_equal_models_are_not_told_apart() -> None:
    best, worst = ratings(played("a", "b", 10, 20, 10))
    assert best.score == pytest.approx(worst.score)
    assert best.interval[0] < 1000 < best.interval[1]


def test_models_that_never_met_are_not_rated_together() -> None:
    apart = [*played("a", "b", 3, 0, 1), *played("c", "d", 1, 0, 3, start=9)]
    with pytest.raises(LwexpError, match="a and c never met, not even through other models"):
        ratings(apart)
    assert len(ratings([*apart, *played("b", "d", 1, 1, 1, start=20)])) == 4
