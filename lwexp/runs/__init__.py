"""runs: where a run lives. Run id, run directory, manifest, lineage, seeds, ranks.

Reads and writes ``<root>/<name>-<id>/``: config.json, manifest.json and log.txt are this room's; every
other file there belongs to the room that ran. Never touches models or data.
"""

from lwexp.runs.directory import RunDirectory, open_run
from lwexp.runs.find import find_run
from lwexp.runs.identity import fingerprint
from lwexp.runs.run import Run

__all__ = ["Run", "RunDirectory", "find_run", "fingerprint", "open_run"]
