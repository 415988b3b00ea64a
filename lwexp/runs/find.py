"""Find a run by directory, by name, or as the newest finished one of its kind."""

import glob
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lwexp.config.schema import Config
from lwexp.records import LwexpError
from lwexp.runs.artifacts import SET_ASIDE, Manifest
from lwexp.runs.identity import run_id
from lwexp.runs.run import Run

log = logging.getLogger(__name__)

_MOST_LISTED = 8


def list_runs(root: Path) -> list[Run]:
    """All runs below ``root``, oldest first, without repeated ones and folders without a readable manifest."""
    folders = (Path(folder) for folder in _folders_in(str(root)) if not _is_set_aside(folder))
    runs = [run for folder in folders if (run := Run.at(folder)) is not None]
    return sorted(runs, key=lambda run: (run.manifest.end or run.manifest.created, run.id))


def run_folders(root: Path) -> list[Path]:
    """The runs in ``root``, and in the folders below it that are not runs, such as runs/demo."""
    return runs_and_folders_with(root)[0]


def runs_and_folders_with(root: Path, *names: str) -> list[list[Path]]:
    """The runs, and for each name the folders that have such a file, in ``root`` and in the folders that are not runs.

    Only names are looked at, and paths are made only of what is found, so this is quick for thousands of runs.
    """
    found: dict[str, list[Path]] = {name: [] for name in (Manifest.FILE, *names)}
    for folder in _folders_in(str(root)):
        has = _note(folder, found, found)
        if Manifest.FILE not in has:
            wanted = [name for name in found if name not in has]
            for below in _folders_in(folder):
                _note(below, wanted, found)
    return list(found.values())


def _note(folder: str, names: Iterable[str], found: dict[str, list[Path]]) -> list[str]:
    """List a folder under each of these names that it has a file of; returns these names."""
    has = [name for name in names if os.path.isfile(f"{folder}/{name}")]  # False in another user's folder
    for name in [] if _is_set_aside(folder) else has:
        found[name].append(Path(folder))
    return has


def _is_set_aside(folder: str) -> bool:
    return SET_ASIDE in os.path.basename(folder)


def _folders_in(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())
    except OSError:  # another user's, or removed since
        return []


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
        stages: Accepted stages.
        labels: Labels the run must have, such as objective=sft.
        key: The config key that ``wanted`` came from, for the message.
        make_it: The command that makes such a run, for the message.

    Raises:
        LwexpError: If there is none, naming those that exist.
    """
    labels = labels or {}
    if wanted == "newest":
        fitting = [run for run in list_runs(root) if run.stage in stages and not _differing(run, labels)]
        usable = [run for run in fitting if run.is_usable]
        if not usable:
            raise LwexpError(f"{key}=newest: {_no_newest(root, stages, labels, key)}; make one with: {make_it}")
        return _warned(usable[-1], key)
    path = Path(wanted)
    if (path / Manifest.FILE).is_file():
        named = [Run.load(path)]
    elif path.is_dir():
        raise LwexpError(f"{key}={wanted}: this folder is not a run: it has no {Manifest.FILE}")
    else:
        named = [run for run in list_runs(root) if wanted in (run.id, run.name)]
    if not named:
        kin = _listed([run for run in list_runs(root) if run.stage in stages], "status")
        there = f"there are {kin}" if kin else f"there is no {_or(stages)} run yet; make one with: {make_it}"
        raise LwexpError(f"{key}={wanted}: no run is called {wanted} under {root}; {there}")
    problems = {run.id: _problem(run, stages, labels) for run in named}
    good = [run for run in named if problems[run.id] is None]
    if not good:
        raise LwexpError(f"{key}={wanted}: {problems[named[-1].id]}")
    return _warned(good[-1], key)


def find_twin(stage: str, config: Config, name: str, inputs: Mapping[str, str]) -> Run | None:
    """A run that differs from this config only in keys that cannot change a result (``Key.still_in_ids``).

    Args:
        stage: The kind of run.
        config: The whole config.
        name: The name that the run must have.
        inputs: Name -> fingerprint of everything the run reads.
    """
    work = run_id(stage, config, inputs, earlier=False)
    if work == run_id(stage, config, inputs):  # the stage has no such key
        return None
    twins = []
    for folder in Path(config.root).glob(f"{glob.escape(name)}-{'[0-9a-f]' * 8}"):
        run = Run.at(folder)
        if run is None or (run.stage, run.name, run.manifest.inputs) != (stage, name, dict(inputs)):
            continue
        if run.manifest.seed != config.seed:  # before its config is read, because a folder may hold many such runs
            continue
        if run.config is not None and run_id(stage, run.config, inputs, earlier=False) == work:
            twins.append(run)
    return max(twins, key=lambda run: (run.is_usable, run.manifest.created, run.id), default=None)


def _problem(run: Run, stages: tuple[str, ...], labels: Mapping[str, str]) -> str | None:
    """Why a named run cannot be used, or None."""
    if run.stage not in stages:
        return f"{run.id} is of kind {run.stage}, wanted {_or(stages)}"
    if differing := [name for name in _differing(run, labels) if run.labels.get(name) is not None]:
        has = ", ".join(f"{name}={run.labels.get(name)}" for name in differing)
        return f"{run.id} has {has}, wanted {', '.join(f'{name}={labels[name]}' for name in differing)}"
    if not run.is_usable:
        return f"{run.id} is {run.status}, not finished; run its command again: lwexp rerun {run.path}"
    return None


def _no_newest(root: Path, stages: tuple[str, ...], labels: Mapping[str, str], key: str) -> str:
    """A message that there is no such run, with similar ones."""
    carrying = f" with {', '.join(f'{name}={value}' for name, value in labels.items())}" if labels else ""
    parts = [f"no finished {_or(stages)} run{carrying} under {root}"]
    kin = [run for run in list_runs(root) if run.stage in stages]
    if unfinished := [run for run in kin if not _differing(run, labels)]:
        parts.append(f"unfinished: {_listed(unfinished, 'status')}")
    if others := [run for run in kin if _differing(run, labels)]:
        parts.append(f"others: {_listed(others, 'status', *labels)}; choose one with {key}=<id>")
    return "; ".join(parts)


def _differing(run: Run, labels: Mapping[str, str]) -> list[str]:
    return [name for name, value in labels.items() if run.labels.get(name) != value]


def _or(stages: tuple[str, ...]) -> str:
    return " or ".join(stages)


def _listed(runs: list[Run], *what: str) -> str:
    """Ids of the newest few runs, each with its status or labels."""
    shown = [
        f"{run.id} ({', '.join(run.status if name == 'status' else run.labels.get(name) or '?' for name in what)})"
        for run in runs[-_MOST_LISTED:]
    ]
    earlier = len(runs) - len(shown)
    return ", ".join(shown) + (f" and {earlier} earlier" if earlier else "")


def _warned(run: Run, key: str) -> Run:
    """The run, after a warning if something in it is missing."""
    if not run.is_finished:
        log.warning("%s: %s is incomplete: %s", key, run.id, run.manifest.reason)
    return run
