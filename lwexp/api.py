"""The commands as Python functions: each takes a config and returns the run it made. See docs/python.md.

from lwexp import api

run = api.train(api.compose("experiment=smoke"))
print(run.path, run.manifest.results)
"""

from lwexp.config import Config, compose
from lwexp.recipe import evaluate, generate, train
from lwexp.records import LwexpError
from lwexp.report import compare

__all__ = ["Config", "LwexpError", "compare", "compose", "evaluate", "generate", "train"]
