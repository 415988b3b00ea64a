"""Published numbers that may stand beside ours: same bench and version, whole bench or same range, same judge; pure."""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.extend.bench import bench_heading
from lwexp.records import PublishedCell, published_cells
from lwexp.report.view import GroupView

# The version of each bench that the published numbers were measured on, as lwexp/conf/bench names it.
_VERSIONS = {"longbench_write": "3fcfdff", "longwrite_ruler": "3fcfdff"}


class Theirs(NamedTuple):
    """A published model: its numbers for the whole bench, their source, and how the set-up differs from lwexp's."""

    model: str
    values: dict[str, float]
    source: str
    setup: str
    is_second_hand: bool


def beside(view: GroupView, cells: Sequence[PublishedCell] | None = None) -> list[Theirs]:
    """Models whose published numbers were measured as ours were; unknown cells are left empty.

    A score that a judge gave is taken only where that judge is ours; word counts and S_l need no judge.
    """
    bench = _published_name(view)
    if bench is None:
        return []
    judge = (view.group.judge or "").rpartition("/")[2]
    found: dict[tuple[str, str], Theirs] = {}
    for cell in published_cells() if cells is None else cells:
        if cell.bench != bench or cell.range is not None or cell.value is None:
            continue
        if cell.judge is not None and cell.judge != judge:
            continue
        theirs = Theirs(cell.model, {}, cell.source, cell.setup, cell.is_second_hand)
        found.setdefault((cell.model, cell.source), theirs).values[cell.metric] = cell.value
    return list(found.values())


def _published_name(view: GroupView) -> str | None:
    """The published bench that a group was measured on; None for any other bench, version or selection."""
    config = view.rows[0].evaluation.config.get("bench") or {}
    name = str(config.get("name"))
    if name not in _VERSIONS or not config.get("sha256"):
        return None  # not known to be the published prompts
    for published, extra in ((name, {}), (f"{name}_en", {"language": "en"})):
        if view.group.bench == bench_heading({"name": name, "version": _VERSIONS[name], **extra}):
            return published
    return None
