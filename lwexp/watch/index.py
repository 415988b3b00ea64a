"""The runs and sweeps below a folder, newest first, read again only where a file has changed."""

import os
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lwexp.records import is_locked
from lwexp.runs import Run
from lwexp.runs.artifacts import LOCK, LOG, METRICS, SUMMARY, TRIALS, Manifest
from lwexp.runs.find import runs_and_folders_with
from lwexp.runs.progress import RunProgress
from lwexp.watch.changes import Cache, last_change, state_of
from lwexp.watch.sweeps import Sweep

_FRESH_SECONDS = 1.0
"""Pages that ask within this time get the same answer."""


class Row(NamedTuple):
    """A run or a sweep as the list shows it. Times are ISO 8601, or empty."""

    key: str
    """Its folder, relative to the root; it names the run in addresses."""
    id: str
    name: str
    kind: str
    state: str
    """As ``Run.state``."""
    note: str = ""
    """Why it is not finished."""
    created: str = ""
    ended: str = ""
    moved: str = ""
    """When a running run last wrote something."""
    result: str = ""
    cost_usd: float | None = None
    labels: str = ""
    parents: tuple[str, ...] = ()
    what: str = ""
    text: str = ""
    share: float | None = None
    """This and the two before it: ``RunProgress`` of a running run."""


class Index:
    """All runs below ``root``. Several threads may ask.

    A poll looks at the names of folders and at the times of their manifests, and reads what is new or has changed. A
    link that leads out of the root is not followed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = root.resolve()
        self._lock = threading.Lock()
        self._read_at = -_FRESH_SECONDS
        self._found: dict[str, Run | Sweep] = {}
        self._rows: list[Row] = []
        self._runs: Cache[tuple[Run, Row] | None] = Cache()
        self._sweeps: Cache[Sweep | None] = Cache()

    def rows(self) -> list[Row]:
        """All runs: first the running ones, then the others, each newest first."""
        self._refresh()
        return self._rows

    def get(self, key: str) -> Run | Sweep | None:
        """The run with this key. Only folders that were found below the root have a key."""
        self._refresh()
        return self._found.get(key)

    def linked(self, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Each id with the key of its run, which is empty if the run is not below the root."""
        keys = {row.id: row.key for row in self.rows()}
        return [(id, keys.get(id, "")) for id in ids]

    def _refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._read_at < _FRESH_SECONDS:
                return
            found: dict[str, Run | Sweep] = {}
            rows = []
            runs, sweeps = map(self._inside, runs_and_folders_with(self.root, TRIALS))
            for path in runs:
                if (read := self._runs.get(path, _run_state(path), partial(self._read, path))) is not None:
                    run, row = read
                    found[row.key] = run
                    rows.append(_working(row, run) if run.status == "running" else row)
            for path in sweeps:
                state = (state_of(path / TRIALS), is_locked(path / LOCK))
                if (sweep := self._sweeps.get(path, state, partial(Sweep.at, path))) is not None:
                    found[self._key(path)] = sweep
                    rows.append(_sweep_row(self._key(path), sweep))
            newest = sorted(rows, key=lambda row: (row.ended or row.created, row.key), reverse=True)
            self._found, self._rows = found, sorted(newest, key=lambda row: row.state != "running")
            self._read_at = time.monotonic()

    def _inside(self, folders: list[Path]) -> list[Path]:
        """Those that no link leads out of the root. Only links are resolved, which takes longer than all else."""
        return [path for path in folders if not self._has_link(path) or self._is_inside(path)]

    def _has_link(self, path: Path) -> bool:
        return os.path.islink(path) or (path.parent != self.root and os.path.islink(path.parent))

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._real_root)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _read(self, path: Path) -> tuple[Run, Row] | None:
        run = Run.at(path)
        if run is None:
            return None
        state = run.state
        labels = ", ".join(value for _, value in run.labels.items())
        return run, Row(
            key=self._key(path), id=run.id, name=run.name, kind=run.stage, state=state,
            note="" if state in ("finished", "running") else why(run), created=run.manifest.created,
            ended=run.manifest.end or "", result=run.result_text, cost_usd=run.number("cost_usd"), labels=labels,
            parents=run.parents,
        )  # fmt: skip


def _run_state(path: Path) -> object:
    """What tells that a run has to be read again; a summary changes when a report is made once more."""
    return state_of(path / Manifest.FILE, path / SUMMARY)


def _working(row: Row, run: Run) -> Row:
    """The row of a run that says it is running: whether it is, and how far."""
    if run.state != "running":
        return row._replace(state=run.state, note=why(run))
    moved = last_change(*(run.path / name for name in (RunProgress.FILE, METRICS, LOG)))
    row = row._replace(state="running", note="", moved=moved)
    return with_progress(row, progress_of(run))


def with_progress(row: Row, progress: RunProgress | None) -> Row:
    """The row with how far the run has come."""
    if progress is None:
        return row
    if progress.is_over:
        return row._replace(what=f"{progress.what}: done", text="", share=None)
    return row._replace(what=progress.what, text=progress.text, share=progress.share)


def progress_of(run: Run) -> RunProgress | None:
    """What the newest start of a run was doing last; None before it has counted anything."""
    progress, starts = RunProgress.read(run.path), run.manifest.starts
    seconds = len("2026-01-31T12:00:00")
    if progress is not None and starts and progress.started[:seconds] < starts[-1][:seconds]:
        return None
    return progress


def why(run: Run) -> str:
    """Why a run is not finished."""
    if run.status == "running":
        return "its process ended without saying why, for example after kill -9"
    return run.manifest.reason or {"new": "not started yet"}.get(run.status, run.status)


def _sweep_row(key: str, sweep: Sweep) -> Row:
    name, text = sweep.path.name, sweep.result_text
    when = last_change(sweep.path / TRIALS)
    return Row(
        key, name, name, "sweep", sweep.state, created=when, moved=when, result=text, what="trials", text=text,
        share=sweep.share,
    )  # fmt: skip
