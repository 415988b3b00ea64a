"""The preference losses, one a file."""

from lwexp.train.objectives.preference_losses import hinge, ipo, none, sigmoid

__all__ = ["hinge", "ipo", "none", "sigmoid"]
