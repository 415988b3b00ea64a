"""Published numbers that may be shown next to those measured here: same bench, version and judge; pure."""

from collections.abc import Sequence
from typing import NamedTuple

from lwexp.extend.bench import bench_heading
from lwexp.records import PublishedCell, published_cells
from lwexp.report.groups import Group

# The version of each bench that the published numbers were measured on, as lwexp/conf/bench names it.
_VERSIONS = {"longbench_write": "3fcfdff", "longwrite_ruler": "3fcfdff"}


class PublishedModel(NamedTuple):
    """A model's published numbers for the whole bench, their source, and how the set-up differs from lwexp's."""

    model: str
    values: dict[str, float]
    source: str
    setup: str
    is_second_hand: bool


def comparable(group: Group, cells: Sequence[PublishedCell] | None = None) -> list[PublishedModel]:
    """Models whose published numbers were measured in the same way as the group's; unknown cells stay empty.

    A judged score is used only if its judge is the group's; word counts and S_l need no judge.
    """
    config = group.evaluations[0].node.setting("bench", dict) or {}
    bench = _published_name(config, group.bench) if config.get("sha256") else None  # else the prompts may differ
    judge = (group.judge or "").rpartition("/")[2]
    found: dict[tuple[str, str], PublishedModel] = {}
    for cell in published_cells() if cells is None else cells:
        if cell.bench == bench and cell.range is None and cell.value is not None and cell.judge in (None, judge):
            theirs = PublishedModel(cell.model, {}, cell.source, cell.setup, cell.is_second_hand)
            found.setdefault((cell.model, cell.source), theirs).values[cell.metric] = cell.value
    return list(found.values())


def _published_name(config: dict[str, object], heading: str) -> str | None:
    """The published bench that a heading names; None for any other bench, version or selection."""
    name = str(config.get("name"))
    for published, extra in ((name, {}), (f"{name}_en", {"language": "en"})):
        if heading == bench_heading({"name": name, "version": _VERSIONS.get(name), **extra}):
            return published
    return None
