"""How far repeated judgements of the same answers agree. Pure."""

from collections.abc import Iterable, Sequence
from itertools import combinations


def krippendorff_alpha(units: Iterable[Sequence[float]]) -> float | None:
    """Krippendorff's alpha for interval data: 1 is perfect agreement, 0 what chance gives, below that worse.

    Args:
        units: The values that each answer was given; answers with fewer than two take no part.

    Returns:
        None where there is nothing to compare or all values are equal, so that chance itself always agrees.

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
    return 2 * (len(values) * sum(value * value for value in values) - sum(values) ** 2)


def mean_absolute_difference(units: Iterable[Sequence[float]]) -> float | None:
    """Mean over answers of the mean difference between two of an answer's values; None without two values anywhere."""
    means = []
    for unit in units:
        differences = [abs(a - b) for a, b in combinations(unit, 2)]
        if differences:
            means.append(sum(differences) / len(differences))
    return sum(means) / len(means) if means else None
