"""recipe: which room runs after which, and which run each one reads.

The only package above all rooms. It reads the manifests of input runs, opens the run directory, hands rooms plain
values and paths, and writes the results into the manifest. It never touches rows, models or pages itself. Rooms are
imported inside the functions, so that a mistake in the config is told before torch is loaded.
"""

from lwexp.recipe.data import generate
from lwexp.recipe.evaluation import evaluate
from lwexp.recipe.sweep import Sweep
from lwexp.recipe.training import train

__all__ = ["Sweep", "evaluate", "generate", "train"]
