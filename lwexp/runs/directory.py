"""The run directory: opened, locked, resumed, finished.

    with open_run("train", config, inputs={"mixture": sha}, parents=[data_run]) as run:
        if run.is_finished:
            return run
        ... work, writing below run.path ...
        run.finish(TrainResults(steps=650, ...))

Leaving the block without ``finish`` records why: failed, interrupted or preempted. A ``kill -9`` leaves
the status "running" and a lock that died with its process, so the next start goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import IO

from lwexp.config.folders import REPOSITORY
from lwexp.config.schema import Config
from lwexp.records import LwexpError, Preempted, write_json
from lwexp.runs.artifacts import CONFIG, LOCK, LOG, Artifact, Git, Labels, Manifest, Parent
from lwexp.runs.identity import run_id
from lwexp.runs.logs import attach_log, detach_log
from lwexp.runs.ranks import is_rank_zero
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
            results: Of the stage, one of ``artifacts.RESULTS``.
            missing: Counts by reason of what did not come but may come another time. If any, the run is incomplete
                instead: usable as it is, and its command goes on with what is missing.
        """
        self.manifest.results = results.model_dump(mode="json")
        if not missing:
            self._close("finished")
            return
        named = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in sorted(missing.items()))
        self.manifest.reason = f"{sum(missing.values()):,} missing: {named}"
        log.warning("%s; these may pass: the same command asks for them again", self.manifest.reason)
        self._close("incomplete")

    def leave(self) -> None:
        """Close the run without results: its status is "new" again."""
        self._close("new")

    def __enter__(self) -> RunDirectory:
        if self.is_finished or not is_rank_zero():
            return self
        self._lock = _lock(self.path)
        self._log = attach_log(self.path / LOG)
        self.manifest.status = "running"
        self.manifest.starts.append(_now())
        self._save()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._lock is None:
            return
        if self.status == "running":
            status = {KeyboardInterrupt: "interrupted", Preempted: "preempted"}.get(kind or Exception, "failed")
            self.manifest.reason = f"{kind.__name__}: {error}"[:2000] if kind else "stopped without a result"
            self._close(status)
        if self._log is not None:
            detach_log(self._log)
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
    """Find or make the directory of a run.

    Args:
        stage: Kind of run, one of ``config.schema.STAGES``.
        config: The whole validated config; stored as config.json.
        default_name: Used when ``config.name`` is null.
        inputs: Name -> fingerprint of everything the run reads; part of its identity.
        parents: Runs whose outputs it reads, for the lineage.
        labels: What others find the run by, such as model and objective.
        check: Called before anything is made or written, unless the run is finished: raises if the run cannot work.
    """
    name = config.name or default_name
    path = Path(config.root) / f"{name}-{run_id(stage, config, inputs)}"
    old = RunDirectory.at(path)
    if check is not None and not (old and old.is_finished):
        check()
    if old is not None:
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
        git=_git(),
        python=sys.version.split()[0],
        versions={package: _version(package) for package in _PACKAGES},
    )
    run = RunDirectory(path, manifest)
    if is_rank_zero():
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LwexpError(f"cannot make the run directory {path}: {error.strerror}; set root=<folder>") from None
        write_json(path / CONFIG, config.model_dump(mode="json"))
        run._save()
    return run


def _lock(path: Path) -> IO[str]:
    """Hold the run exclusively; the lock dies with this process, however it ends."""
    file = (path / LOCK).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise LwexpError(f"{path} is in use by another process; wait for it or stop it") from None
    file.write(str(os.getpid()))
    file.flush()
    return file


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git() -> Git:
    """Commit and whether the work tree differs from it; nulls outside a git checkout."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=10
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return Git(commit=git("rev-parse", "HEAD"), dirty=None if status is None else bool(status))
