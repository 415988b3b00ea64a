"""Which run was made from which: as layers, and as a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lwexp.pages.display import dollars, words
from lwexp.runs import Run
from lwexp.text.plain import one_line


def layers(nodes: Mapping[str, Run]) -> list[list[Run]]:
    """Runs by distance from the start: every run is in a later layer than all its parents."""
    depth: dict[str, int] = {}

    def place(run_id: str, seen: frozenset[str]) -> int:
        if run_id not in depth:
            above = [place(parent, seen | {run_id}) for parent in nodes[run_id].parents if parent not in seen]
            depth[run_id] = 1 + max(above, default=-1)
        return depth[run_id]

    columns: dict[int, list[Run]] = {}
    for run_id in nodes:
        columns.setdefault(place(run_id, frozenset()), []).append(nodes[run_id])
    return [
        sorted(found, key=lambda node: (node.stage == "evaluate", node.name, node.id))
        for _, found in sorted(columns.items())
    ]


class Branch(NamedTuple):
    """A run in the tree of runs, under the last of its parents; ``others`` are its other parents."""

    node: Run
    others: tuple[Run, ...]
    children: tuple[Branch, ...]


def family(nodes: Mapping[str, Run]) -> list[Branch]:
    """The lineage as a tree, each run once."""
    order = {node.id: number for number, node in enumerate(node for column in layers(nodes) for node in column)}
    above = {
        run: sorted((parent for parent in nodes[run].parents if order[parent] < order[run]), key=order.__getitem__)
        for run in order
    }

    def grown(root: str | None) -> Iterator[Branch]:
        for run, parents in above.items():
            if (parents[-1] if parents else None) == root:
                yield Branch(nodes[run], tuple(nodes[parent] for parent in parents[:-1]), tuple(grown(run)))

    return list(grown(None))


def facts(node: Run) -> str:
    """The most important numbers of a run, in a few words each."""
    kept = re.search(r"= ([\d,]+) kept", node.tally or "")
    loss = node.number("final_loss")
    found = {
        "kept": kept[1] if kept and node.number("pairs") is None else None,
        "pairs": node.number("pairs"),
        "steps": node.number("steps"),
        "answers": node.number("responses") if node.stage == "evaluate" else None,
    }
    said = [f"{n if isinstance(n, str) else words(n)} {what}" for what, n in found.items() if n is not None]
    said += [] if loss is None else [f"loss {loss:.3f}"]
    return "; ".join([*said, *([dollars(cost)] if (cost := node.number("cost_usd")) is not None else [])])


def versions_of(nodes: Mapping[str, Run]) -> list[tuple[str, str]]:
    """Package -> its version, or all versions if the runs used different ones."""
    found: dict[str, set[str]] = {}
    for node in nodes.values():
        for package, version in {"python": node.manifest.python, **node.manifest.versions}.items():
            if version is not None:
                found.setdefault(one_line(package, 40), set()).add(one_line(version, 40))
    return [(package, " and ".join(sorted(versions))) for package, versions in found.items()]
