"""Which run was made from which: in columns, and as a tree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lwexp.pages.display import dollars, words
from lwexp.runs import Run
from lwexp.text.plain import one_line

_STAGES = {"train": "training", "evaluate": "evaluation", "missing": "not on disk"}


def layers(nodes: Mapping[str, Run]) -> list[list[Run]]:
    """Runs by distance from the start: every run stands in a later layer than all its parents."""
    depth: dict[str, int] = {}

    def place(run_id: str, seen: frozenset[str]) -> int:
        if run_id not in depth:
            above = [place(parent, seen | {run_id}) for parent in nodes[run_id].parents if parent not in seen]
            depth[run_id] = 1 + max(above, default=-1)
        return depth[run_id]

    for run_id in nodes:
        place(run_id, frozenset())
    columns: list[list[Run]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for run_id, column in depth.items():
        columns[column].append(nodes[run_id])
    for nodes_of_column in columns:
        nodes_of_column.sort(key=lambda node: (node.stage == "evaluate", node.name, node.id))
    return columns


class Branch(NamedTuple):
    """A run in the tree of runs, under the last of its parents; ``others`` are the parents it is not under."""

    node: Run
    stage: str
    result: str
    others: tuple[Run, ...]
    children: tuple[Branch, ...]


def family(nodes: Mapping[str, Run]) -> list[Branch]:
    """The lineage as a tree, each run once."""
    order = [node for column in layers(nodes) for node in column]
    place = {node.id: number for number, node in enumerate(order)}
    under: dict[str | None, list[tuple[Run, tuple[Run, ...]]]] = {}
    for node in order:
        before = sorted((parent for parent in node.parents if place[parent] < place[node.id]), key=place.__getitem__)
        last, rest = (before[-1], before[:-1]) if before else (None, [])
        under.setdefault(last, []).append((node, tuple(nodes[parent] for parent in rest)))

    def grown(parent: str | None) -> list[Branch]:
        branches = []
        for node, others in under.get(parent, ()):
            result = "missing" if node.is_missing else "; ".join(facts(node)) or node.status
            stage = _STAGES.get(node.stage, node.stage)
            branches.append(Branch(node, stage, result, others, tuple(grown(node.id))))
        return branches

    return grown(None)


def facts(node: Run) -> Sequence[str]:
    """The few numbers that say what a run did, in a few words each."""
    found = []
    kept = re.search(r"= ([\d,]+) kept", node.tally or "")
    pairs, steps, loss = node.number("pairs"), node.number("steps"), node.number("final_loss")
    if pairs is not None:
        found.append(f"{words(pairs)} pairs")
    elif kept:
        found.append(f"{kept[1]} kept")
    if steps is not None:
        found.append(f"{words(steps)} steps")
    if loss is not None:
        found.append(f"loss {loss:.3f}")
    if node.stage == "evaluate" and node.number("responses") is not None:
        found.append(f"{words(node.number('responses'))} answers")
    if node.number("cost_usd") is not None:
        found.append(dollars(node.number("cost_usd")))
    return found


def versions_of(nodes: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Package -> its version, or every version where runs used different ones."""
    found: dict[str, set[str]] = {}
    for node in nodes.values():
        for package, version in {"python": node.manifest.python, **node.manifest.versions}.items():
            if version is not None:
                found.setdefault(one_line(package, 40), set()).add(one_line(version, 40))
    return [(package, " and ".join(sorted(versions))) for package, versions in found.items()]
