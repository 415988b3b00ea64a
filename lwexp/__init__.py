"""lwexp: the LongWriter recipe as one composable experiment framework.

Data flows one way, through files: generate -> mix -> pack -> train -> sample -> score -> report.
Each room's ``__init__`` says what it reads, what it writes and what it never touches.

    import lwexp

    run = lwexp.train(lwexp.compose("experiment=smoke"))
    print(run.path, run.manifest["results"])

Names are looked up when they are used, so that ``import lwexp`` loads nothing heavy. See docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwexp.config import Config, compose
    from lwexp.recipe import evaluate, generate, train
    from lwexp.records import LwexpError
    from lwexp.report import compare

__version__ = "0.1.0"

__all__ = ["Config", "LwexpError", "compare", "compose", "evaluate", "generate", "train"]

_HOMES = {
    "Config": "config", "compose": "config", "generate": "recipe", "train": "recipe", "evaluate": "recipe",
    "compare": "report", "LwexpError": "records",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lwexp' has no attribute {name!r}")
    return getattr(import_module(f"lwexp.{_HOMES[name]}"), name)
