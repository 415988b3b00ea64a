"""Which run was made from which: manifests followed upwards, missing ones shown as missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Tree = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """One run of the lineage; ``manifest`` is empty where the run is no longer on disk."""

    id: str
    path: Path | None
    manifest: Tree
    parents: tuple[str, ...]

    @property
    def is_missing(self) -> bool:
        """Whether some run names this one as its parent, but it cannot be read."""
        return not self.manifest

    @property
    def name(self) -> str:
        """The run's readable name; for a missing run, its id."""
        return str(self.manifest.get("name") or self.id)

    @property
    def stage(self) -> str:
        """data, import, pairs, train or evaluate; "missing" for a missing run."""
        return str(self.manifest.get("stage") or "missing")

    @property
    def results(self) -> Tree:
        """What the run recorded at its end; empty before that."""
        results = self.manifest.get("results")
        return results if isinstance(results, dict) else {}

    def label(self, key: str) -> str | None:
        """One of the run's labels, such as objective."""
        labels = self.manifest.get("labels")
        value = labels.get(key) if isinstance(labels, dict) else None
        return None if value is None else str(value)

    def number(self, key: str) -> float | None:
        """A numeric result; None where it was not recorded or is not finite."""
        value = self.results.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return None
        return float(value) if abs(value) != float("inf") else None

    @property
    def seconds(self) -> float | None:
        """Wall time of a run that was started once; resumed runs do not record their breaks."""
        starts, end = self.manifest.get("starts") or [], self.manifest.get("end")
        if len(starts) != 1 or not end:
            return None
        try:
            return (datetime.fromisoformat(end) - datetime.fromisoformat(starts[0])).total_seconds()
        except (TypeError, ValueError):
            return None


def trace(paths: Iterable[Path]) -> dict[str, Node]:
    """All runs that the given ones were made from, themselves included: id -> node.

    Parents are looked up by the path in the manifest and, where the tree was moved or the report is
    made from another directory, beside the run that names them.
    """
    nodes: dict[str, Node] = {}
    waiting = [(path.resolve().name, path) for path in paths]
    while waiting:
        run_id, path = waiting.pop()
        if run_id in nodes:
            continue
        manifest = read_manifest(path)
        parents = [parent for parent in manifest.get("parents") or [] if isinstance(parent, dict)]
        nodes[run_id] = Node(run_id, path if manifest else None, manifest, tuple(str(p["id"]) for p in parents))
        for parent in parents:
            recorded, beside = Path(str(parent.get("path", ""))), path.parent / str(parent["id"])
            waiting.append((str(parent["id"]), recorded if (recorded / "manifest.json").is_file() else beside))
    return nodes


def read_manifest(path: Path) -> Tree:
    """A run's manifest, or an empty one where there is none that can be read."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def ancestors(run_id: str, nodes: Mapping[str, Node]) -> list[Node]:
    """The runs that led to this one, nearest first, each once."""
    found: dict[str, Node] = {}
    waiting = list(nodes[run_id].parents)
    while waiting:
        parent = waiting.pop(0)
        if parent not in found:
            found[parent] = nodes[parent]
            waiting.extend(nodes[parent].parents)
    return list(found.values())


def layers(nodes: Mapping[str, Node]) -> list[list[Node]]:
    """Nodes by distance from the start: every run stands in a later layer than all its parents."""
    depth: dict[str, int] = {}

    def place(run_id: str, seen: frozenset[str]) -> int:
        if run_id not in depth:
            above = [place(parent, seen | {run_id}) for parent in nodes[run_id].parents if parent not in seen]
            depth[run_id] = 1 + max(above, default=-1)
        return depth[run_id]

    for run_id in nodes:
        place(run_id, frozenset())
    columns: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for run_id, column in depth.items():
        columns[column].append(nodes[run_id])
    for nodes_of_column in columns:
        nodes_of_column.sort(key=lambda node: (node.stage == "evaluate", node.name, node.id))
    return columns
