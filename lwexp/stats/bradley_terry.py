"""Bradley-Terry scores of several models from their pairwise games, with intervals over prompts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lwexp.records import LwexpError
from lwexp.stats.intervals import LEVEL, Interval

CENTRE, SPREAD = 1000.0, 400.0
"""Elo's scale: the mean of all models, and the points that make odds of 10 to 1."""
_STEPS = 2000
_RESAMPLES = 1000
_SEED = 0


class Game(NamedTuple):
    """One pair of answers to a prompt."""

    prompt: str
    first: str
    second: str
    score: float
    """1 if the first model wins, 0.5 for a tie, 0 if it loses."""


class Rating(NamedTuple):
    """A model on Elo's scale: 190.8 points more mean odds of 3 to 1."""

    model: str
    score: float
    interval: Interval
    games: int


def ratings(games: Sequence[Game], *, prior: float = 0.5) -> list[Rating]:
    """The models, the best first.

    Prompts are resampled for the intervals, because the games of one prompt are not independent.

    Args:
        games: Of models that all meet, directly or through others.
        prior: Wins that each side of every two models that met gets beside its own. Above 0, a model that won every
            game has a finite score.

    Raises:
        LwexpError: If some models never met the others; the points between them would mean nothing.

    Source: D. R. Hunter, MM algorithms for generalized Bradley-Terry models (2004); ties count half for each side.
    """
    import numpy as np

    models = sorted({name for game in games for name in (game.first, game.second)})
    prompts = sorted({game.prompt for game in games})
    place = {name: number for number, name in enumerate(models)}
    wins = np.zeros((len(prompts), len(models), len(models)))
    row_of = {prompt: number for number, prompt in enumerate(prompts)}
    for game in games:
        a, b = place[game.first], place[game.second]
        wins[row_of[game.prompt], a, b] += game.score
        wins[row_of[game.prompt], b, a] += 1 - game.score
    met = wins.sum(axis=0) + wins.sum(axis=0).T > 0
    _check_all_met(models, met)
    drawn = np.random.default_rng(_SEED).multinomial(
        len(prompts), [1 / len(prompts)] * len(prompts), size=_RESAMPLES
    )  # how often each prompt is in each resample
    resampled = np.einsum("rp,pab->rab", drawn, wins)
    every = np.concatenate([wins.sum(axis=0)[None], resampled]) + prior * met
    scores = _strengths(every)
    low, high = np.percentile(scores[1:], [100 * LEVEL / 2, 100 * (1 - LEVEL / 2)], axis=0)
    found = [
        Rating(
            name, float(scores[0, n]), (float(low[n]), float(high[n])), round(float((wins[:, n] + wins[:, :, n]).sum()))
        )
        for n, name in enumerate(models)
    ]
    return sorted(found, key=lambda rating: -rating.score)


def _check_all_met(models: Sequence[str], met: Any) -> None:
    reached, found = {0}, [0]
    while found:
        found = [n for n in range(len(models)) if n not in reached and any(met[n][other] for other in reached)]
        reached |= set(found)
    if others := [name for n, name in enumerate(models) if n not in reached]:
        raise LwexpError(
            f"{models[0]} and {others[0]} never met, not even through other models, so no rating compares them; give "
            "only models that answered the same prompts"
        )


def _strengths(wins: Any) -> Any:
    """Scores on Elo's scale for each table of wins; the last two axes are winner and loser."""
    import numpy as np

    played = wins + wins.swapaxes(1, 2)
    won = wins.sum(axis=2)
    strength = np.ones_like(won)
    for _ in range(_STEPS):
        before = strength
        strength = won / (played / (strength[:, :, None] + strength[:, None, :])).sum(axis=2)
        strength = strength / np.exp(np.log(strength).mean(axis=1, keepdims=True))
        if np.abs(np.log(strength / before)).max() < 1e-10:
            break
    return CENTRE + SPREAD * np.log10(strength)
