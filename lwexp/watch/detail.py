"""One run or sweep as the page shows it: how it stands, its numbers, its curves and the end of its log."""

from pathlib import Path
from typing import Any

from lwexp.pages.display import dollars, duration
from lwexp.report.differences import flatten
from lwexp.report.figures.training_metrics import training_rows
from lwexp.report.training.curves import HELD_OUT, TRAINED, lines_of
from lwexp.runs import Run
from lwexp.runs.artifacts import HELD_OUT_METRICS, LOG, METRICS, REPORT, TRAINING_PAGE, VIEWER
from lwexp.runs.progress import RunProgress
from lwexp.runs.trials import Trial
from lwexp.text.plain import one_line, visible
from lwexp.watch.changes import Cache, state_of
from lwexp.watch.index import Index, Row, progress_of, with_progress
from lwexp.watch.sweeps import Sweep

_LOG_BYTES, _LOG_LINES = 32_768, 80
_SETTING_CHARACTERS = 2_000
_Tile = dict[str, str]
_Chart = dict[str, Any]


class Details:
    """Reads runs for the page; curves are computed again only when their files have changed.

    Args:
        index: The list of the same runs.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._charts: Cache[list[_Chart]] = Cache()

    def of(self, row: Row, run: Run | Sweep) -> dict[str, Any]:
        """A run as JSON.

        Args:
            row: The run in the list.
            run: The same run.
        """
        if isinstance(run, Sweep):
            trials = [self._trial(trial, state) for trial, state in zip(run.trials, run.states, strict=True)]
            return row._asdict() | {"trials": trials, "tiles": [], "charts": [], "log": []}
        progress = progress_of(run)
        is_running = row.state == "running"
        return with_progress(row, progress)._asdict() | {
            "path": str(run.path),
            "pages": [name for name in (REPORT, TRAINING_PAGE, VIEWER) if (run.path / name).is_file()],
            "made_from": self._index.linked(run.parents),
            "command": run.manifest.command,
            "starts": run.manifest.starts,
            "numbers": progress.numbers.model_dump(mode="json") if progress else {},
            "tiles": [*_done(run), *_counted(run, progress, is_running=is_running)],
            "charts": self._charts_of(run),
            "log": log_end(run.path),
        }

    def _trial(self, trial: Trial, state: str) -> dict[str, Any]:
        return {
            "number": trial.number + 1,
            "label": one_line(trial.label, 200),
            "state": state,
            "note": one_line(trial.reason or trial.state, 300),
            "seconds": trial.seconds,
            "runs": self._index.linked(Path(run).name for run in trial.runs),
        }

    def _charts_of(self, run: Run) -> list[_Chart]:
        files = [run.path / name for name in (METRICS, HELD_OUT_METRICS)]
        return self._charts.get(run.path, state_of(*files), lambda: _charts(run))


def _charts(run: Run) -> list[_Chart]:
    """The same curves as in the run's training.html."""
    rows = training_rows(run.path)
    if not rows:
        return []
    config = run.config
    return [
        {
            "title": each.about.title,
            "caption": each.about.caption,
            "unit": each.about.unit,
            "chance": each.chance,
            "lines": [
                {"name": (TRAINED, HELD_OUT)[place], "points": points}
                for place, points in each.curves.items()
                if points
            ],
        }
        for each in lines_of(
            rows, training_rows(run.path, HELD_OUT_METRICS), config.objective.watched() if config else {}
        )
    ]


def _done(run: Run) -> list[_Tile]:
    """Results of a run that has them."""
    tiles = [_tile(name, f"{score:.1f}") for name, score in run.scores.items()]
    if not tiles and run.result_text:
        tiles.append(_tile("result", run.result_text))
    if (cost := run.number("cost_usd")) is not None:
        tiles.append(_tile("paid", dollars(cost)))
    if run.seconds is not None and run.is_usable:
        tiles.append(_tile("took", duration(run.seconds)))
    if run.tally:
        tiles.append(_tile("rows", run.tally))
    return tiles


def _counted(run: Run, progress: RunProgress | None, *, is_running: bool) -> list[_Tile]:
    """What the run's progress counts; nothing for a run whose results say it."""
    if progress is None or progress.is_over or run.is_usable:
        return []
    known = progress.numbers
    tiles = []
    if known.done is not None:
        tiles.append(_tile(progress.what, f"{known.done:,}", f"of {known.total:,}" if known.total else ""))
    if is_running and known.seconds_left is not None:
        tiles.append(_tile("time left", duration(known.seconds_left)))
    if is_running and known.tokens_per_second is not None:
        tiles.append(_tile("tokens a second", f"{known.tokens_per_second:,.0f}"))
    if known.spent_usd is not None:
        budget = budget_usd(run)
        notes = [] if known.projected_usd is None else [f"about {dollars(known.projected_usd)} in all"]
        notes += [] if budget is None else [f"the budget is {dollars(budget)}"]
        tiles.append(_tile("paid so far", dollars(known.spent_usd), ", ".join(notes)))
    if known.failed is not None:
        reasons = [f"{count:,} {reason.replace('_', ' ')}" for reason, count in known.failed.items()]
        tiles.append(_tile("lost", f"{sum(known.failed.values()):,}", ", ".join(reasons)))
    if is_running and known.in_flight is not None:
        tiles.append(_tile("in flight", f"{known.in_flight:,}", "calls to the model"))
    return tiles


def _tile(label: str, value: str, note: str = "") -> _Tile:
    return {"label": label, "value": value, "note": note}


def budget_usd(run: Run) -> float | None:
    """The budget of the teacher that a run pays; None if it has none, or does not ask a teacher."""
    budget = run.setting("teacher.limits.budget_usd", int | float)  # type: ignore[arg-type]
    return None if budget is None else float(budget)


def log_end(folder: Path) -> list[str]:
    """The last lines of a run's log, with hidden characters spelled out; none if it cannot be read.

    A link that leads out of the run is not followed.
    """
    path = folder / LOG
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        return []
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _LOG_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = text.splitlines()[1 if size > _LOG_BYTES else 0 :]  # the first line may be cut
    return [visible(line) for line in lines[-_LOG_LINES:]]


def settings(run: Run | Sweep) -> list[tuple[str, str]]:
    """Key and value of every setting as stored in config.json, which holds no secrets."""
    return [] if isinstance(run, Sweep) else list(flatten(run.config_tree, length=_SETTING_CHARACTERS).items())
