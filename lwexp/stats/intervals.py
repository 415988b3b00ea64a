"""How sure a number is: bootstrap intervals of means and paired differences, rank correlation; pure.

Prompts are resampled, not answers: repeats of one prompt are not independent of each other, so each
prompt enters with the mean of its repeats. Percentile method, 95%, with a fixed seed: the same verdicts
give the same page. numpy only; scipy.stats takes most of a second to import and agrees (tests).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

RESAMPLES = 4000
_SEED = 0

Interval = tuple[float, float]


class Difference(NamedTuple):
    """Mean of a minus b over the prompts both have, with its interval."""

    mean: float
    interval: Interval | None
    n_prompts: int


def interval(values: Sequence[float]) -> Interval | None:
    """95% interval of the mean; None below two values, where there is nothing to resample."""
    if len(values) < 2:
        return None
    import numpy as np

    sample = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(_SEED).integers(0, len(sample), size=(RESAMPLES, len(sample)))
    low, high = np.percentile(sample[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def paired_difference(a: Mapping[str, float], b: Mapping[str, float]) -> Difference | None:
    """How much better a is than b, prompt by prompt; None where they share no prompt.

    Args:
        a: Score by prompt id.
        b: Score by prompt id.
    """
    shared = sorted(a.keys() & b.keys())
    if not shared:
        return None
    differences = [a[prompt] - b[prompt] for prompt in shared]
    return Difference(sum(differences) / len(shared), interval(differences), len(shared))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rho; equal values share the mean of their ranks. 0 where one side is constant."""
    ranks = [[sum(y < x for y in side) + (sum(y == x for y in side) - 1) / 2 for x in side] for side in (a, b)]
    middle = (len(a) - 1) / 2
    products = sum((x - middle) * (y - middle) for x, y in zip(*ranks, strict=True))
    squares = [sum((x - middle) ** 2 for x in side) for side in ranks]
    return products / (squares[0] * squares[1]) ** 0.5 if all(squares) else 0.0
