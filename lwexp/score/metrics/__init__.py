"""The paper's metrics, one a file; importing them registers them."""

from lwexp.score.metrics import length, mean, quality

__all__ = ["length", "mean", "quality"]
