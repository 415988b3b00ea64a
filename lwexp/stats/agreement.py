"""How far scores agree: rank correlation, Krippendorff's alpha, mean difference."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rho; equal values share the mean of their ranks. None if all values of one side are equal."""
    ranks = [_ranks(side) for side in (a, b)]
    middle = (len(a) - 1) / 2
    products = sum((x - middle) * (y - middle) for x, y in zip(*ranks, strict=True))
    squares = [sum((x - middle) ** 2 for x in side) for side in ranks]
    return products / (squares[0] * squares[1]) ** 0.5 if all(squares) else None


def _ranks(values: Sequence[float]) -> list[float]:
    """From 0 on."""
    before = 0
    rank_of = {}
    for value, count in sorted(Counter(values).items()):
        rank_of[value] = before + (count - 1) / 2
        before += count
    return [rank_of[value] for value in values]


def krippendorff_alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for interval data: 1 is perfect agreement, 0 is chance level.

    Args:
        units: The values given to each answer; answers with fewer than two are ignored.

    Returns:
        None if there is nothing to compare, or if all values are equal (chance agreement is then 1).

    Source: K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section E.
    """
    pairable = [list(unit) for unit in units if len(unit) > 1]
    values = [value for unit in pairable for value in unit]
    expected = _squares(values) / (len(values) * (len(values) - 1)) if values else 0.0
    if expected == 0:
        return None
    observed = sum(_squares(unit) / (len(unit) - 1) for unit in pairable) / len(values)
    return 1 - observed / expected


def _squares(values: Sequence[float]) -> float:
    """Sum of squared differences over all ordered pairs."""
    shifted = [value - values[0] for value in values]  # so that equal values give exactly 0
    return 2 * (len(shifted) * sum(value * value for value in shifted) - sum(shifted) ** 2)


def mean_absolute_difference(units: Iterable[Sequence[float]]) -> float | None:
    """Mean over answers of the mean difference between two values of an answer; None if no answer has two values."""
    means = []
    for unit in units:
        differences = [abs(a - b) for a, b in combinations(unit, 2)]
        if differences:
            means.append(sum(differences) / len(differences))
    return sum(means) / len(means) if means else None
