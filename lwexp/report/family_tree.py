"""The lineage as a drawing: one box a run, parents left of their children; hand-made SVG in page colours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from lwexp.pages.display import dollars, words
from lwexp.report.lineage import Node, layers
from lwexp.text.plain import one_line, visible

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 178, 72, 40, 18, 2
_GAP_SLOT = 0.3  # height of a passing edge's gap, in boxes
_STAGES = {
    "data": "data", "import": "data", "pairs": "pairs", "train": "training", "evaluate": "evaluation",
    "missing": "not on disk",
}  # fmt: skip


class Model(NamedTuple):
    """What a training or evaluation run is called and coloured in this report."""

    label: str
    place: int


def draw(nodes: Mapping[str, Node], models: Mapping[str, Model]) -> Markup:
    """The whole lineage.

    Args:
        nodes: Id -> run.
        models: Id of a training or evaluation run -> the model it belongs to.
    """
    columns = layers(nodes)
    layout = _lay_out(columns, nodes)
    bottom = max((spot.y for spot in layout.spots.values()), default=0.0)
    width = len(columns) * (_WIDTH + _GAP_X) - _GAP_X + 2 * _EDGE
    height = bottom + _HEIGHT / 2 + _EDGE
    edges = Markup("").join(
        _edge([layout.spots[stop] for stop in route], is_missing=nodes[route[0]].is_missing) for route in layout.routes
    )
    boxes = Markup("").join(_box(node, layout.spots[run_id], models.get(run_id)) for run_id, node in nodes.items())
    told = "; ".join(
        f"{node.name} ({_STAGES.get(node.stage, node.stage)}) from "
        f"{', '.join(nodes[parent].name for parent in node.parents) or 'nothing'}"
        for column in columns
        for node in column
    )
    return Markup(
        '<svg class="lineage" role="img" aria-label="{told}" width="{width}" height="{height:.0f}" '
        'viewBox="0 0 {width} {height:.0f}">{edges}{boxes}</svg>'
    ).format(told=f"Lineage of the runs: {visible(told)}", width=width, height=height, edges=edges, boxes=boxes)


class _Spot(NamedTuple):
    """Left edge and vertical middle of a box, or of the gap that a passing edge takes."""

    x: float
    y: float
    is_box: bool


class _Layout(NamedTuple):
    spots: dict[str, _Spot]
    routes: list[list[str]]


def _lay_out(columns: Sequence[Sequence[Node]], nodes: Mapping[str, Node]) -> _Layout:
    """Place boxes column by column, near their parents.

    An edge that skips columns gets a gap in each of them, or it would run behind other runs' boxes.
    """
    depth = {node.id: x for x, column in enumerate(columns) for node in column}
    slots: list[list[str]] = [[node.id for node in column] for column in columns]
    routes = []
    for child in nodes.values():
        for parent in child.parents:
            gaps = [f"{parent} to {child.id} at {x}" for x in range(depth[parent] + 1, depth[child.id])]
            for x, gap in enumerate(gaps, start=depth[parent] + 1):
                slots[x].append(gap)
            routes.append([parent, *gaps, child.id])
    middles = _untangle(
        slots, routes, {slot: 1.0 if slot in nodes else _GAP_SLOT for column in slots for slot in column}
    )
    spots = {
        slot: _Spot(
            _EDGE + x * (_WIDTH + _GAP_X),
            _EDGE + _HEIGHT / 2 + (middles[slot] - 0.5) * (_HEIGHT + _GAP_Y),
            slot in nodes,
        )
        for x, column in enumerate(slots)
        for slot in column
    }
    return _Layout(spots, routes)


def _untangle(slots: list[list[str]], routes: Sequence[Sequence[str]], sizes: Mapping[str, float]) -> dict[str, float]:
    """Sort each column in place by the middle of its neighbours, there and back; returns each slot's middle.

    The barycentre method of Sugiyama, Tagawa and Toda (1981): not always the fewest crossings, but few.
    """
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for route in routes:
        for start, end in pairwise(route):
            before.setdefault(end, []).append(start)
            after.setdefault(start, []).append(end)
    tall = max((sum(sizes[slot] for slot in column) for column in slots), default=0.0)
    middles: dict[str, float] = {}
    for column in slots:
        _stack(column, sizes, tall, middles)
    for neighbours, order in ((before, 1), (after, -1), (before, 1)):
        for column in slots[::order]:
            wanted = {}
            for slot in column:
                near = [middles[other] for other in neighbours.get(slot, [slot])]
                wanted[slot] = sum(near) / len(near)
            column.sort(key=wanted.__getitem__)
            _stack(column, sizes, tall, middles)
    return middles


def _stack(column: Sequence[str], sizes: Mapping[str, float], tall: float, middles: dict[str, float]) -> None:
    """Set the middles of one column: its slots on top of each other, centred."""
    top = (tall - sum(sizes[slot] for slot in column)) / 2
    for slot in column:
        middles[slot] = top + sizes[slot] / 2
        top += sizes[slot]


def _edge(stops: Sequence[_Spot], *, is_missing: bool) -> Markup:
    """A smooth line through all stops, straight where it passes a column, with an arrow at its end."""
    start, end = stops[0], stops[-1]
    x, y = start.x + _WIDTH, start.y
    parts = [f"M{x:.0f} {y:.0f}"]
    for stop in stops[1:]:
        to_x = stop.x - (5 if stop.is_box else 0)
        bend = (x + to_x) / 2
        parts.append(f"C{bend:.0f} {y:.0f} {bend:.0f} {stop.y:.0f} {to_x:.0f} {stop.y:.0f}")
        x, y = to_x, stop.y
        if not stop.is_box:
            x += _WIDTH
            parts.append(f"H{x:.0f}")
    return Markup('<path class="{kind}" d="{line}"/><path class="arrow" d="M{x:.0f} {y:.0f}l-6 -3.5v7z"/>').format(
        kind="edge missing" if is_missing else "edge", line="".join(parts), x=end.x - 3, y=end.y
    )


def _box(node: Node, spot: _Spot, model: Model | None) -> Markup:
    x, y = spot.x, spot.y - _HEIGHT / 2
    stripe = (
        Markup('<rect x="{}" y="{}" width="5" height="{}" rx="2.5" fill="var(--m{})"/>').format(
            x, f"{y + 8:.0f}", _HEIGHT - 16, model.place
        )
        if model is not None
        else Markup("")
    )
    lines = [
        ("name", 24, one_line(model.label if model else node.name, 18)),
        ("fact", 43, one_line("missing" if node.is_missing else "; ".join(facts(node)) or _standing(node), 25)),
        ("id", 60, one_line(f"{_STAGES.get(node.stage, node.stage)} {node.id.rpartition('-')[2]}", 25)),
    ]
    texts = Markup("").join(
        Markup('<text class="{}" x="{:.0f}" y="{:.0f}">{}</text>').format(kind, x + 16, y + down, text)
        for kind, down, text in lines
    )
    return Markup(
        '<g><title>{title}</title><rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{w}" height="{h}" rx="8"/>'
        "{stripe}{texts}</g>"
    ).format(
        title=one_line(node.id, 200), kind="run missing" if node.is_missing else "run",
        x=x, y=y, w=_WIDTH, h=_HEIGHT, stripe=stripe, texts=texts,
    )  # fmt: skip


def _standing(node: Node) -> str:
    return node.status


def facts(node: Node) -> Sequence[str]:
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
