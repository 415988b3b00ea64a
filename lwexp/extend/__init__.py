"""extend: the extension points. Registries of small typed classes, and the loader of users' plugins.

Reads a plugin's Python file or module; writes nothing. Never touches rooms: they import their base classes from here
and register their own classes in the same way as a user does.
"""

from lwexp.extend.bench import BENCHES, Bench
from lwexp.extend.chat import CHAT_FORMATS, ChatFormat, Piece, control, text
from lwexp.extend.columns import BrokenRowError
from lwexp.extend.endpoint import JUDGES, TEACHERS, AskedJudge, Endpoint, Hosted, Judge, Teacher
from lwexp.extend.family import FAMILIES, Licence, ModelFamily, Published, Sizes
from lwexp.extend.metric import METRICS, ComputedMetric, JudgedMetric, Marks, Metric
from lwexp.extend.objective import OBJECTIVES, Known, Objective, Optimizer, PackLoss, StepTotals, Watched
from lwexp.extend.plugins import load_plugins
from lwexp.extend.preference_loss import PREFERENCE_LOSSES, PreferenceForm, PreferenceLoss
from lwexp.extend.registry import OneOf, Registry, register
from lwexp.extend.rows import PAIR_FORMATS, ROW_FORMATS, PairFormat, PairTurns, RawRow, RowFormat
from lwexp.extend.settings import Key, Strict
from lwexp.extend.source import DATA_SOURCES, PAIR_SOURCES, DataSource, Found, PairSource, RawPairSource, RawSource
from lwexp.extend.training_rows import TrainingRows

__all__ = [
    "BENCHES",
    "CHAT_FORMATS",
    "DATA_SOURCES",
    "FAMILIES",
    "JUDGES",
    "METRICS",
    "OBJECTIVES",
    "PAIR_FORMATS",
    "PAIR_SOURCES",
    "PREFERENCE_LOSSES",
    "ROW_FORMATS",
    "TEACHERS",
    "AskedJudge",
    "Bench",
    "BrokenRowError",
    "ChatFormat",
    "ComputedMetric",
    "DataSource",
    "Endpoint",
    "Found",
    "Hosted",
    "Judge",
    "JudgedMetric",
    "Key",
    "Known",
    "Licence",
    "Marks",
    "Metric",
    "ModelFamily",
    "Objective",
    "OneOf",
    "Optimizer",
    "PackLoss",
    "PairFormat",
    "PairSource",
    "PairTurns",
    "Piece",
    "PreferenceForm",
    "PreferenceLoss",
    "Published",
    "RawPairSource",
    "RawRow",
    "RawSource",
    "Registry",
    "RowFormat",
    "Sizes",
    "StepTotals",
    "Strict",
    "Teacher",
    "TrainingRows",
    "Watched",
    "control",
    "load_plugins",
    "register",
    "text",
]
