"""Find a run by directory, by name, or as the newest finished one of its kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from lwexp.records import LwexpError
from lwexp.runs.directory import RunDirectory

log = logging.getLogger(__name__)

_MOST_LISTED = 8


def list_runs(root: Path) -> list[RunDirectory]:
    """All runs below ``root``, oldest first. Folders without a readable manifest are passed over."""
    runs = []
    for path in root.glob("*/manifest.json"):
        try:
            runs.append(RunDirectory.load(path.parent))
        except (OSError, json.JSONDecodeError):
            continue
    return sorted(runs, key=lambda run: (run.manifest.get("end") or run.manifest["created"], run.id))


def find_run(
    wanted: str,
    *,
    root: Path,
    stages: tuple[str, ...],
    labels: Mapping[str, str] | None = None,
    key: str,
    make_it: str,
) -> RunDirectory:
    """The finished run that ``wanted`` names.

    Args:
        wanted: A run directory, a run's name or id, or "newest".
        root: Where runs live.
        stages: Stages that will do.
        labels: Labels the run must carry, such as objective=sft.
        key: The config key that ``wanted`` came from, for the message.
        make_it: The command that makes such a run, for the message.

    Raises:
        LwexpError: If there is none, naming those that exist.
    """
    path = Path(wanted)
    if (path / "manifest.json").is_file():
        run = RunDirectory.load(path)
        if not run.is_usable:
            raise LwexpError(
                f"{key}={wanted}: the run is {run.manifest['status']}, not finished; run its command again"
            )
        return _told(run, key)
    kin = [run for run in list_runs(root) if run.manifest["stage"] in stages]
    fitting = [
        run for run in kin if all(run.manifest["labels"].get(name) == value for name, value in (labels or {}).items())
    ]
    named = fitting if wanted == "newest" else [r for r in fitting if wanted in (r.id, r.manifest["name"])]
    usable = [run for run in named if run.is_usable]
    if usable:
        return _told(usable[-1], key)
    asked = f"a finished {'/'.join(stages)} run" + "".join(f" with {k}={v}" for k, v in (labels or {}).items())
    there = _listed(fitting, "status") or "none"
    others = _listed([run for run in kin if run not in fitting], "status", *(labels or {}))
    choose = f"; others: {others}; choose one with {key}=<id>" if others else ""
    raise LwexpError(
        f"{key}={wanted}: no {asked.removeprefix('a ')} under {root}; there: {there}{choose}; make one with: {make_it}"
    )


def _listed(runs: list[RunDirectory], *what: str) -> str:
    """Ids of the newest few runs, each with its status or labels."""
    shown = [
        f"{run.id} ({', '.join(run.manifest.get(name) or run.manifest['labels'].get(name, '?') for name in what)})"
        for run in runs[-_MOST_LISTED:]
    ]
    earlier = len(runs) - len(shown)
    return ", ".join(shown) + (f" and {earlier} earlier" if earlier else "")


def _told(run: RunDirectory, key: str) -> RunDirectory:
    """The run, with a warning where something in it is missing."""
    if not run.is_finished:
        log.warning("%s: %s is incomplete: %s", key, run.id, run.manifest["reason"])
    return run
