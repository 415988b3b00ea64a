"""recipe: runs the rooms in order, and finds the run that each one reads.

The only package above all rooms. It reads the manifests of input runs, opens the run directory, passes plain values and
paths to rooms, and writes the results into the manifest. It never touches rows, models or pages itself. Rooms are
imported inside the functions, so that a mistake in the config is reported before torch is loaded.
"""

from lwexp.recipe.data import generate
from lwexp.recipe.evaluation import evaluate
from lwexp.recipe.sweep import Sweep
from lwexp.recipe.training import train

__all__ = ["Sweep", "evaluate", "generate", "train"]
