"""95% intervals by resampling prompts: percentile method with a fixed seed, as the report draws them."""

from __future__ import annotations

from collections.abc import Sequence

RESAMPLES = 4000
_SEED = 0


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95% interval of the mean of one value a prompt; None below two values.

    For two models that answered the same prompts, the values are the differences prompt by prompt: that is the paired
    bootstrap. scipy is imported here, because it takes most of a second and a run without a comparison needs none.
    """
    if len(values) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(values, dtype=float),), np.mean, n_resamples=RESAMPLES, method="percentile", vectorized=True,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
