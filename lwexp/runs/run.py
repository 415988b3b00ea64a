"""A run on disk, for reading: its config, parents, state and results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

from lwexp.config.compose import read_config
from lwexp.config.schema import Config
from lwexp.config.upgrade import upgrade
from lwexp.records import LwexpError, is_locked
from lwexp.runs.artifacts import (
    CONFIG,
    LOCK,
    RESULTS,
    Artifact,
    DataResults,
    ImportResults,
    Labels,
    Manifest,
    PairsResults,
    Parent,
    SelectResults,
    Tree,
    read_object,
)
from lwexp.runs.summaries import ComparisonSummary
from lwexp.text.plain import plural

A = TypeVar("A", bound=Artifact)
T = TypeVar("T")


class Run:
    """One run. ``path`` is its directory, ``manifest`` its manifest.json."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """The run in a directory; None if its manifest is missing or cannot be read."""
        manifest = Manifest.read(path)
        return None if manifest is None else cls(path, manifest)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The run in a directory.

        Raises:
            LwexpError: If its manifest is missing or cannot be read.
        """
        run = cls.at(path)
        if run is None:
            raise LwexpError(f"{path} is not a run: {path / Manifest.FILE} is missing or cannot be read")
        return run

    @classmethod
    def missing(cls, path: Path) -> Self:
        """A run that others name as their parent but that no longer exists."""
        return cls(path, Manifest(id=path.name, name=path.name))

    @property
    def id(self) -> str:
        """Directory name: ``<name>-<8 hex digits>``."""
        return self.path.resolve().name

    @property
    def name(self) -> str:
        """Readable part of the id, or the id itself if the manifest has none."""
        return self.manifest.name or self.id

    @property
    def stage(self) -> str:
        """One of ``config.schema.STAGES``, or "missing"."""
        return self.manifest.stage

    @property
    def status(self) -> str:
        """See ``Manifest.status``."""
        return self.manifest.status

    @property
    def labels(self) -> Labels:
        """Labels by which other steps find it, such as model and objective."""
        return self.manifest.labels

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the runs it was made from."""
        return tuple(parent.id for parent in self.manifest.parents)

    @property
    def is_missing(self) -> bool:
        """Whether it is only known as a parent of another run and cannot be read."""
        return self.stage == "missing"

    @property
    def is_finished(self) -> bool:
        """Whether an earlier start of the same command already did the work."""
        return self.status == "finished"

    @property
    def is_usable(self) -> bool:
        """Whether other steps may read its results: it is finished, or incomplete and can be completed later."""
        return self.status in ("finished", "incomplete")

    @property
    def state(self) -> str:
        """finished, incomplete, running (only while a process is), stopped (its command resumes) or failed."""
        if self.status in ("finished", "incomplete", "failed"):
            return self.status
        return "running" if self.status == "running" and is_locked(self.path / LOCK) else "stopped"

    @property
    def scores(self) -> dict[str, float]:
        """Metric -> score of an evaluation; empty for other runs and before a report was written."""
        summary = ComparisonSummary.read(self.path) if self.stage == "evaluate" else None
        models = list(summary.models.values()) if summary is not None else []
        values = (models[0].model_extra or {}) if len(models) == 1 else {}
        # Every metric is stored with its interval.
        metrics = [name for name in values if f"{name}_interval" in values]
        return {name: float(values[name]) for name in metrics if isinstance(values[name], int | float)}

    @property
    def result_text(self) -> str:
        """The most important results of a run of its kind, such as ``loss 1.034``; empty before there are any."""
        if self.scores:
            return ", ".join(f"{name} {value:.1f}" for name, value in self.scores.items())
        if (loss := self.number("final_loss")) is not None:
            return f"loss {loss:.4g}"
        if (pairs := self.results(PairsResults)) is not None:
            return plural(pairs.pairs, "pair")
        if (selected := self.results(SelectResults)) is not None:
            return plural(selected.instructions, "instruction")
        rows = self.results(DataResults) or self.results(ImportResults)
        return "" if rows is None else plural(rows.conversations, "conversation")

    @property
    def seconds(self) -> float | None:
        """Wall time of a run that was started once; None for resumed runs, whose breaks are not recorded."""
        if len(self.manifest.starts) != 1 or not self.manifest.end:
            return None
        try:
            end, start = (datetime.fromisoformat(time) for time in (self.manifest.end, self.manifest.starts[0]))
            seconds = (end - start).total_seconds()
            return seconds if seconds >= 0 else None  # the clock was set back
        except (TypeError, ValueError):
            return None

    @cached_property
    def config_tree(self) -> Tree:
        """config.json under today's names; unchanged if a later version wrote it, empty if it cannot be read."""
        tree = read_object(self.path / CONFIG)
        try:
            return upgrade(tree) if tree else tree
        except LwexpError:
            return tree

    def setting(self, path: str, kind: type[T]) -> T | None:
        """A value of its config; None if there is none of this type there, as in a damaged file.

        Args:
            path: Its key, such as ``teacher.limits``.
            kind: Its type; ``dict`` for a section.
        """
        value: Any = self.config_tree
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, kind) else None

    @cached_property
    def config(self) -> Config | None:
        """The config it ran with; None if this version cannot read it or one of its plugins is missing."""
        try:
            return read_config(self.config_tree)
        except LwexpError:
            return None

    def results(self, kind: type[A]) -> A | None:
        """The recorded results; None before the run has finished, for another stage, or if they cannot be read."""
        if self.manifest.results is None or RESULTS.get(self.stage) is not kind:
            return None
        try:
            return kind.model_validate(self.manifest.results)
        except ValueError:
            return None

    @property
    def tally(self) -> str | None:
        """Rows received, kept and lost, if its stage counts rows."""
        value = (self.manifest.results or {}).get("tally")
        return None if value is None else str(value)

    def number(self, key: str) -> float | None:
        """A numeric result of any stage; None if it was not recorded or is not finite."""
        value: Any = (self.manifest.results or {}).get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return None
        return float(value) if abs(value) != float("inf") else None

    def parent_runs(self, *stages: str) -> list[Run]:
        """Its parents that still exist and are of one of these stages."""
        found = (Run.at(self.place_of(parent)) for parent in self.manifest.parents)
        return [run for run in found if run is not None and run.stage in stages]

    def place_of(self, parent: Parent) -> Path:
        """A parent's directory: the recorded one or, if the tree was moved, the one next to this run."""
        path = Path(parent.path)
        is_there = bool(parent.path) and (path / Manifest.FILE).is_file()
        return path if is_there else self.path.resolve().parent / parent.id


def trace(paths: Iterable[Path]) -> dict[str, Run]:
    """The given runs and all that they were made from: id -> run; missing ones as ``Run.missing``."""
    runs: dict[str, Run] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path.resolve().name in runs:
            continue
        run = Run.at(path) or Run.missing(path)
        runs[run.id] = run
        waiting += map(run.place_of, run.manifest.parents)
    return runs


def ancestors(run_id: str, runs: Mapping[str, Run]) -> list[Run]:
    """The ancestors of this run, nearest first, each once."""
    found: dict[str, Run] = {}
    waiting = list(runs[run_id].parents)
    while waiting:
        parent = waiting.pop(0)
        if parent not in found:
            found[parent] = runs[parent]
            waiting.extend(runs[parent].parents)
    return list(found.values())
