"""recipe: which room runs after which, and which run each one reads.

The only package above all rooms. It finds input runs, opens the run directory, hands rooms plain values and paths,
and records results; it computes nothing itself. Rooms are imported inside the functions, so that a mistake in the
config is told before torch is loaded.
"""

from lwexp.recipe.data import generate
from lwexp.recipe.evaluation import evaluate
from lwexp.recipe.sweep import Sweep
from lwexp.recipe.training import train

__all__ = ["Sweep", "evaluate", "generate", "train"]
