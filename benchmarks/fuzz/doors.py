"""All doors by name."""

from benchmarks.fuzz.configs import CONFIG_DOORS
from benchmarks.fuzz.folders import FOLDER_DOORS
from benchmarks.fuzz.fuzzing import Door
from benchmarks.fuzz.replies import REPLY_DOORS
from benchmarks.fuzz.rows import ROW_DOORS

DOORS: dict[str, Door] = {**CONFIG_DOORS, **ROW_DOORS, **REPLY_DOORS, **FOLDER_DOORS}
