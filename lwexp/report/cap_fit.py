"""How the longest answer follows the longest training answer; pure.

Fitted on logarithmic axes, log(longest answer) = a + b log(longest training answer), least squares; the 95% interval
of the slope b is Student's with n - 2 degrees of freedom. Slope 1 means that the longest answer grows in proportion to
the longest training answer.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from lwexp.pages.display import span, words
from lwexp.stats.agreement import rank_correlation
from lwexp.stats.intervals import Interval

_FOLLOWS = 0.9  # if the rank correlation is above this, the longest answer follows the cap


class CapFit(NamedTuple):
    """A straight line on logarithmic axes, and the rank correlations of all points and of the means of each x."""

    slope: float
    slope_interval: Interval | None
    intercept: float
    r_squared: float
    rank_correlation: float
    n: int
    rank_correlation_of_means: float

    def at(self, x: float) -> float:
        return float(10**self.intercept * x**self.slope)

    @property
    def follows(self) -> bool:
        return self.rank_correlation > _FOLLOWS

    @property
    def rises(self) -> bool:
        """Whether the slope is above zero beyond its interval, without the order that ``follows`` asks for."""
        return not self.follows and self.slope_interval is not None and self.slope_interval[0] > 0


def fit_line(points: Sequence[tuple[float, float]]) -> CapFit | None:
    """Least squares on logarithms; None with fewer than two different x, or if a value is not positive."""
    xs = sorted({x for x, _ in points})
    if len(xs) < 2 or any(x <= 0 or y <= 0 for x, y in points):
        return None
    import numpy as np
    from scipy import stats

    line = stats.linregress(*(np.log10(side) for side in zip(*points, strict=True)))
    slope, n = float(line.slope), len(points)
    half = float(stats.t.ppf(0.975, n - 2) * line.stderr) if n > 2 else None
    # Equal answers at all caps do not follow the caps, so they count as not correlated.
    rank = rank_correlation(*zip(*points, strict=True)) or 0.0
    of_means = rank_correlation(xs, [fmean(y for x, y in points if x == each) for each in xs]) or 0.0
    spread = None if half is None else (slope - half, slope + half)
    return CapFit(slope, spread, float(line.intercept), float(line.rvalue**2), rank, n, of_means)


def describe_fit(points: Sequence[tuple[float, float]], fit: CapFit, *, has_slope: bool) -> str:
    """One clause: whether the longest answer follows, the fit, and the longest answer at the lowest and highest cap.

    Args:
        points: Longest training answer and longest answer of each model.
        fit: The fit of these points.
        has_slope: Whether to include the slope; headlines leave it out.
    """
    ends = [
        f"{_range([y for x, y in points if x == end])} words where trained on up to {words(end)}"
        for end in (min(points)[0], max(points)[0])
    ]
    caps = len({x for x, _ in points})
    of_means = f" ({fit.rank_correlation_of_means:.2f} of the means at each of {caps} caps)" if caps < fit.n else ""
    sure = f", 95% interval {span(fit.slope_interval, 2)}" if fit.slope_interval else ""
    slope = f"; slope {fit.slope:.2f}{sure}" if has_slope else ""
    verb = "follows" if fit.follows else "rises with" if fit.rises else "does not follow"
    scatter = ", with much scatter," if fit.rises else ""
    return (
        f"the longest answer {verb} the longest training answer{scatter} over {fit.n} models "
        f"(Spearman rank correlation {fit.rank_correlation:.2f}{of_means}{slope}): "
        f"{', '.join(ends)}"
    )


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return words(low) if low == high else f"{words(low)} to {words(high)}"
