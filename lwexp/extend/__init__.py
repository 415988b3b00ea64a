"""extend: what others build on. Registries of small typed classes, and the loader of users' plugins.

Reads a plugin's Python file or module; writes nothing. Never touches rooms: they import their base classes from here
and register their own classes in the same way as a user does.
"""

from lwexp.extend.family import FAMILIES, Licence, ModelFamily, Published, Sizes
from lwexp.extend.keys import Key
from lwexp.extend.metric import METRICS, ComputedMetric, JudgedMetric, Marks, Metric
from lwexp.extend.plugins import load_plugins
from lwexp.extend.registry import OneOf, Registry, register
from lwexp.extend.settings import Strict

__all__ = [
    "FAMILIES",
    "METRICS",
    "ComputedMetric",
    "JudgedMetric",
    "Key",
    "Licence",
    "Marks",
    "Metric",
    "ModelFamily",
    "OneOf",
    "Published",
    "Registry",
    "Sizes",
    "Strict",
    "load_plugins",
    "register",
]
