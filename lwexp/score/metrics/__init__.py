"""The paper's metrics, one per file; importing them registers them."""

from lwexp.score.metrics import length, mean, quality

__all__ = ["length", "mean", "quality"]
