"""The run directory: opened, locked, resumed, finished.

    with open_run("train", config, inputs={"mixture": sha}, parents=[data_run]) as run:
        if run.is_finished:
            return run
        ... work, writing below run.path ...
        run.finish(TrainResults(steps=650, ...))

Leaving the block without ``finish`` records why: failed, interrupted or preempted. A ``kill -9`` leaves the status
"running" and releases the lock, so the next start resumes.
"""

from __future__ import annotations

import itertools
import logging
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO

from lwexp.config.schema import Config
from lwexp.extend.plugins import plugin_fingerprints
from lwexp.records import LwexpError, Preempted, atomic, lock_file, require_openable, stops_held, write_json
from lwexp.runs.artifacts import (
    CHECKPOINTS,
    CONFIG,
    ENGINE_LEDGER,
    LEDGER,
    LOCK,
    LOG,
    SET_ASIDE,
    Artifact,
    Labels,
    Manifest,
    Parent,
)
from lwexp.runs.code import changes_since, checkout, code_fingerprints, what_changed
from lwexp.runs.find import find_twin
from lwexp.runs.identity import run_id
from lwexp.runs.logs import attach_log, detach_log
from lwexp.runs.progress import keep_progress_in, stop_keeping_progress_in
from lwexp.runs.ranks import is_rank_zero, rank
from lwexp.runs.run import Run

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "lightning", "litellm", "tokenizers", "datasets", "wandb", "deepspeed")


class RunDirectory(Run):
    """A run that a command works in. Rank 0 writes; other ranks only read paths from it."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(path, manifest)
        self._lock: IO[str] | None = None
        self._log: logging.Handler | None = None

    def finish(self, results: Artifact, *, missing: Mapping[str, int] | None = None) -> None:
        """Record the results and mark the run finished.

        Args:
            results: The stage's model in ``artifacts.RESULTS``.
            missing: Reason -> number of rows that are missing but can be requested again. If any, the run is incomplete
                instead: usable, and rerunning its command requests the missing rows.
        """
        self.manifest.results = results.model_dump(mode="json")
        if not missing:
            self._close("finished")
            return
        named = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in sorted(missing.items()))
        self.manifest.reason = f"{sum(missing.values()):,} missing: {named}"
        log.warning("%s; the same command requests them again", self.manifest.reason)
        self._close("incomplete")

    def leave(self) -> None:
        """Close the run without results: its status is "new" again."""
        self._close("new")

    def __enter__(self) -> RunDirectory:
        if not is_rank_zero():  # in training, the other ranks join the run that rank 0 has opened
            raise LwexpError(f"{self.id}: only rank 0 may work in a run, and this is rank {rank()}; start one process")
        if self.is_finished:
            return self
        require_openable(self.path / LOG)
        lock = lock_file(self.path / LOCK, what=self.path)
        if (now := Manifest.read(self.path)) is not None and now.status == "finished":
            self.manifest = now  # another process has finished the run since this one opened it
            lock.close()
            return self
        self._lock = lock
        self._log = attach_log(self.path / LOG)
        keep_progress_in(self.path)
        self.manifest.status = "running"
        self.manifest.starts.append(_now())
        self._save()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._lock is None:
            return
        with stops_held(drop=kind is Preempted):
            self._end(kind, error)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        assert self._lock is not None
        if self._log is not None:
            detach_log(self._log)
            stop_keeping_progress_in(self.path)
        if not self.path.is_dir():
            self._lock.close()
            if error is None or isinstance(error, OSError | sqlite3.Error):
                raise LwexpError(
                    f"{self.path} was removed or renamed while the run worked in it; run the same command again"
                ) from None
            return
        if self.status == "running":
            status = {KeyboardInterrupt: "interrupted", Preempted: "preempted"}.get(kind or Exception, "failed")
            self.manifest.reason = f"{kind.__name__}: {error}"[:2000] if kind else "stopped without a result"
            try:
                self._close(status)
            except OSError:
                if error is None:
                    raise
                # What ended the run is the error to show. Its status stays "running", which without a process counts
                # as stopped.
        self._lock.close()

    def _close(self, status: str) -> None:
        self.manifest.status = status
        self.manifest.end = _now()
        if status == "finished":
            self.manifest.reason = None
        self._save()

    def _save(self) -> None:
        if is_rank_zero():
            self.manifest.write(self.path)


def run_path(stage: str, config: Config, *, default_name: str, inputs: Mapping[str, str]) -> Path:
    """The folder that ``open_run`` finds or creates."""
    return _found(stage, config, config.name or default_name, inputs)[0]


def open_run(
    stage: str,
    config: Config,
    *,
    default_name: str,
    inputs: Mapping[str, str],
    parents: Sequence[Run] = (),
    labels: Mapping[str, str] | None = None,
    check: Callable[[], object] | None = None,
) -> RunDirectory:
    """Find or create the directory of a run.

    Args:
        stage: Kind of run, one of ``config.schema.STAGES``.
        config: The whole validated config; stored as config.json.
        default_name: Used when ``config.name`` is null.
        inputs: Name -> fingerprint of everything the run reads; part of its identity.
        parents: Runs whose outputs it reads, for the lineage.
        labels: Labels by which other steps find the run, such as model and objective.
        check: Called before anything is written, unless the run is finished; raises if the run cannot work.
    """
    name = config.name or default_name
    path, old = _found(stage, config, name, inputs)
    if old is not None and run_id(stage, config, inputs) not in path.name:
        log.info("%s is already this run; only settings that cannot change its results differ", old.id)
    if old is not None and old.is_finished and not config.rerun:
        _say_that_it_is_finished(old, config)
        return old
    if check is not None:
        check()
    if old is not None and not old.is_finished:
        _resume_with_this_code(old, config)
        return old
    manifest = Manifest(
        id=path.name,
        name=name,
        stage=stage,
        status="new",
        labels=Labels(**(labels or {})),
        seed=config.seed,
        inputs=dict(inputs),
        parents=[Parent(id=parent.id, path=str(parent.path)) for parent in parents],
        command=" ".join(sys.argv),
        created=_now(),
        git=checkout(),
        code=code_fingerprints(stage),
        plugins=plugin_fingerprints(config.plugins),
        python=sys.version.split()[0],
        versions={package: _version(package) for package in _PACKAGES},
    )
    run = RunDirectory(path, manifest)
    if is_rank_zero():
        _create(run, config, old)
    return run


def _create(run: RunDirectory, config: Config, old: Run | None) -> None:
    """Make the folder of a new run, and write its config and manifest; ``old`` is the finished run that is there."""
    try:
        if old is not None:
            _set_aside(old)
        run.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LwexpError(f"cannot create the run directory {run.path}: {error.strerror}; set root=<folder>") from None
    write_json(run.path / CONFIG, config.model_dump(mode="json"))
    run._save()


def _found(stage: str, config: Config, name: str, inputs: Mapping[str, str]) -> tuple[Path, RunDirectory | None]:
    """A run's directory, and the run that is there. A run of an earlier version, whose id had the whole paths of its
    inputs, and a run that differs only in keys that cannot change a result (``Key.still_in_ids``) keep theirs."""
    ids = (run_id(stage, config, inputs, whole_paths=whole) for whole in (False, True))
    path, earlier = (Path(config.root) / f"{name}-{id}" for id in ids)
    for place in (path, earlier):
        if (old := RunDirectory.at(place)) is not None:
            return place, old
    twin = find_twin(stage, config, name, inputs)
    return (path, None) if twin is None else (twin.path, RunDirectory.load(twin.path))


def _say_that_it_is_finished(run: Run, config: Config) -> None:
    changed = changes_since(run.manifest, config.plugins)
    if not changed:
        log.info("%s is finished already, so nothing is done again; rerun=true repeats it", run.id)
    else:
        log.warning(
            "%s is finished, but the %s; rerun=true repeats it and keeps this one as %s",
            run.id, what_changed(run.manifest, changed), _aside(run.path).name,
        )  # fmt: skip


def _resume_with_this_code(run: RunDirectory, config: Config) -> None:
    """Record that a run is resumed with different code.

    Raises:
        LwexpError: If it is a training run with a checkpoint, and its config does not allow it.
    """
    changed = changes_since(run.manifest, config.plugins)
    if not changed:
        return
    said = what_changed(run.manifest, changed)
    has_begun = any((run.path / CHECKPOINTS).glob("step-*"))
    if run.stage == "train" and has_begun and not config.resume_changed_code:
        raise LwexpError(
            f"{run.id} would resume from its checkpoint, but the {said}; restore that code, allow it with "
            f"resume_changed_code=true, or start again by removing {run.path}"
        )
    if run.manifest.starts:
        log.warning("%s is resumed, but the %s", run.id, said)
        run.manifest.code_changes.append(said)
    run.manifest.code, run.manifest.plugins = code_fingerprints(run.stage), plugin_fingerprints(config.plugins)
    run.manifest.git = checkout()


def _set_aside(run: Run) -> None:
    """Keep a finished run under another name, and start over with its paid answers."""
    kept = _aside(run.path)
    with atomic(run.path) as fresh:
        fresh.mkdir()
        for ledger in (*run.path.glob(f"{LEDGER}*"), *run.path.glob(f"{ENGINE_LEDGER}*")):
            shutil.copyfile(ledger, fresh / ledger.name)
        run.path.rename(kept)
    log.info("%s is kept as %s", run.id, kept)


def _aside(path: Path) -> Path:
    """The first free name for an earlier version of a run."""
    names = (path.with_name(f"{path.name}{SET_ASIDE}{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
