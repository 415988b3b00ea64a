"""runs: everything about a run on disk: id, directory, manifest, lineage; and how its processes are started.

Reads and writes ``<root>/<name>-<id>/``: config.json, manifest.json and log.txt belong to this
room; every other file there belongs to the room that wrote it. Never touches models or data.
"""

from lwexp.runs.directory import RunDirectory, open_run, run_path
from lwexp.runs.find import find_run
from lwexp.runs.identity import fingerprint, model_fingerprint
from lwexp.runs.run import Run

__all__ = ["Run", "RunDirectory", "find_run", "fingerprint", "model_fingerprint", "open_run", "run_path"]
