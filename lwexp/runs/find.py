"""Find a run by directory, by name, or as the newest finished one of its kind."""

import logging
from collections.abc import Mapping
from pathlib import Path

from lwexp.records import LwexpError
from lwexp.runs.artifacts import SET_ASIDE, Manifest
from lwexp.runs.run import Run

log = logging.getLogger(__name__)

_MOST_LISTED = 8


def list_runs(root: Path) -> list[Run]:
    """All runs below ``root``, oldest first, less those made again since and folders without a readable manifest."""
    folders = [path.parent for path in root.glob(f"*/{Manifest.FILE}") if SET_ASIDE not in path.parent.name]
    runs = [run for folder in folders if (run := Run.at(folder)) is not None]
    return sorted(runs, key=lambda run: (run.manifest.end or run.manifest.created, run.id))


def find_run(
    wanted: str,
    *,
    root: Path,
    stages: tuple[str, ...],
    labels: Mapping[str, str] | None = None,
    key: str,
    make_it: str,
) -> Run:
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
    if (path / Manifest.FILE).is_file():
        run = Run.load(path)
        if not run.is_usable:
            raise LwexpError(f"{key}={wanted}: the run is {run.status}, not finished; run its command again")
        return _told(run, key)
    kin = [run for run in list_runs(root) if run.stage in stages]
    fitting = [run for run in kin if all(run.labels.get(name) == value for name, value in (labels or {}).items())]
    named = fitting if wanted == "newest" else [r for r in fitting if wanted in (r.id, r.name)]
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


def _listed(runs: list[Run], *what: str) -> str:
    """Ids of the newest few runs, each with its status or labels."""
    shown = [
        f"{run.id} ({', '.join(run.status if name == 'status' else run.labels.get(name) or '?' for name in what)})"
        for run in runs[-_MOST_LISTED:]
    ]
    earlier = len(runs) - len(shown)
    return ", ".join(shown) + (f" and {earlier} earlier" if earlier else "")


def _told(run: Run, key: str) -> Run:
    """The run, with a warning where something in it is missing."""
    if not run.is_finished:
        log.warning("%s: %s is incomplete: %s", key, run.id, run.manifest.reason)
    return run
