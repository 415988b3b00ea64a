"""Which run was made from which: manifests followed upwards, missing ones shown as missing."""

from __future__ import annotations

from collections.abc import Mapping

from lwexp.runs.artifacts import Tree
from lwexp.runs.run import Run, ancestors, trace

__all__ = ["Node", "Tree", "ancestors", "layers", "trace"]

Node = Run


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
