"""One training run as a page, from the files that it has written so far."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lwexp.pages.display import NO_VALUE, duration, words
from lwexp.pages.drawing import with_own_ids
from lwexp.pages.page import render as render_page
from lwexp.records import write_text
from lwexp.report.figures.training_metrics import training_rows
from lwexp.report.training.curves import HELD_OUT, TRAINED, curves
from lwexp.runs import Run
from lwexp.runs.artifacts import HELD_OUT_METRICS, NONFINITE, TRAINING_PAGE
from lwexp.runs.summaries import MetricsRow, read_metrics

_TEMPLATE = Path(__file__).parents[1] / "templates" / "training.html"


class Tile(NamedTuple):
    """A number above the curves."""

    label: str
    value: str
    note: str = ""


def write_training_page(run: Run) -> Path | None:
    """Write training.html into a training run; None if no step was logged.

    The page depends on the run's files alone, not on the clock.
    """
    rows = training_rows(run.path)
    if not rows:
        return None
    held_out = training_rows(run.path, HELD_OUT_METRICS)
    manifest, config = run.manifest, run.config
    labels = {0: TRAINED} | ({1: HELD_OUT} if held_out else {})
    page = render_page(
        _TEMPLATE,
        labels=labels,
        all_dots=True,
        run=run,
        date=(manifest.end or manifest.created)[:16].replace("T", " "),
        headline=_headline(rows, held_out),
        tiles=_tiles(rows, held_out, skipped=len(read_metrics(run.path / NONFINITE))),
        figures=with_own_ids(curves(rows, held_out, config.objective.watched() if config else {}), "t"),
    )
    path = run.path / TRAINING_PAGE
    if not path.is_file() or path.read_text(encoding="utf-8") != page:  # a finished run's files stay as they are
        write_text(path, page)
    return path


def _headline(rows: Sequence[MetricsRow], held_out: Sequence[MetricsRow]) -> str:
    known = [row.loss for row in rows if row.loss is not None]
    if not known:
        return f"No step of {words(rows[-1].step)} had a finite loss"
    said = f"Loss {known[0]:.3f} at the first step, {known[-1]:.3f} at step {words(rows[-1].step)}"
    last = held_out[-1].loss if held_out else None
    return said if last is None else f"{said}; {last:.3f} on held-out documents"


def _tiles(rows: Sequence[MetricsRow], held_out: Sequence[MetricsRow], *, skipped: int) -> list[Tile]:
    last = rows[-1]
    values = {name: getattr(last, name, None) for name in ("mfu_packed", "peak_memory_gib")}
    best = min((row for row in held_out if row.loss is not None), key=lambda row: row.loss or 0.0, default=None)
    tiles = [
        Tile("steps", words(last.step)),
        Tile("target tokens", words(last.target_tokens)),
        Tile("time", duration(last.seconds), "of training, over all starts"),
        Tile("target tokens a second", words(last.target_tokens / last.seconds) if last.seconds else NO_VALUE),
    ]
    if best is not None:
        tiles.append(Tile("lowest held-out loss", f"{best.loss:.3f}", f"at step {words(best.step)}"))
    if isinstance(values["mfu_packed"], float):
        tiles.append(Tile("MFU", f"{values['mfu_packed']:.1%}", "at the last step"))
    if isinstance(values["peak_memory_gib"], float):
        tiles.append(Tile("peak memory", f"{values['peak_memory_gib']:.1f} GiB"))
    if skipped:
        tiles.append(Tile("steps without update", words(skipped), "loss or gradient not finite"))
    return tiles
