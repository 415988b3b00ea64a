"""List runs, newest last: kind, state, age, scores or loss, dollars, and the runs they were made from.

    lwexp runs                     all runs below runs/
    lwexp runs evaluate            one kind: data, select, import, pairs, train or evaluate
    lwexp runs train glm4          of these, runs whose name or labels contain a text
    lwexp runs root=runs/demo --json

States: finished; incomplete (usable, its command requests the rest); running; stopped (its command resumes); failed.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lwexp.config.schema import STAGES
from lwexp.records import LwexpError
from lwexp.runs import Run
from lwexp.runs.find import run_folders

_HEAD = ("kind", "run", "state", "age", "result", "dollars", "made from")


def main(arguments: list[str]) -> int:
    """Print the selected runs. Returns the exit code.

    Raises:
        LwexpError: If an option is unknown, or the root does not exist.
    """
    if any(word in ("--help", "-h") for word in arguments):
        print(__doc__)
        return 0
    as_json = "--json" in arguments
    words = [word for word in arguments if word != "--json"]
    roots = [word.partition("=")[2] for word in words if word.startswith("root=")]
    filters = [word for word in words if not word.startswith("root=")]
    for word in filters:
        if word.startswith("-") or "=" in word:
            raise LwexpError(f"runs: {word}: no such option; there are root=<folder>, --json, a kind, and any text")
    root = Path(roots[-1] if roots else "runs")
    found = [run for run in runs_below(root) if all(_fits(run, word) for word in filters)]
    if as_json:
        print(json.dumps([described(run) for run in found], indent=1, ensure_ascii=False))
    elif found:
        print(_table([_HEAD, *(_row(run) for run in found)]))
    else:
        print(f"no runs{f' that match {chr(32).join(filters)}' if filters else ''} under {root}", file=sys.stderr)
    return 0


def runs_below(root: Path) -> list[Run]:
    """The runs in a folder and in the folders below it that are not runs themselves, oldest first.

    Raises:
        LwexpError: If there is no such folder.
    """
    if not root.is_dir():
        raise LwexpError(f"runs: there is no folder {root}; set root=<folder>")
    runs = [run for folder in run_folders(root) if (run := Run.at(folder)) is not None]
    return sorted(runs, key=lambda run: (run.manifest.end or run.manifest.created, run.id))


def described(run: Run) -> dict[str, Any]:
    """A run as JSON, with unrounded numbers and null for unknown ones."""
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.stage,
        "state": run.state,
        "reason": run.manifest.reason,
        "path": str(run.path),
        "created": run.manifest.created,
        "ended": run.manifest.end,
        "scores": run.scores,
        "loss": run.number("final_loss"),
        "cost_usd": run.number("cost_usd"),
        "labels": dict(run.labels.items()),
        "parents": list(run.parents),
    }


def _fits(run: Run, word: str) -> bool:
    if word in STAGES:
        return run.stage == word
    return any(word in text for text in (run.id, run.state, *(value for _, value in run.labels.items())))


def _row(run: Run) -> tuple[str, ...]:
    cost = run.number("cost_usd")
    dollars = "" if cost is None else f"{cost:,.2f}"
    return (run.stage, run.id, run.state, _age(run), run.result_text, dollars, ", ".join(run.parents))


def _age(run: Run) -> str:
    """Time since a run ended or, if it has not, started; in one unit."""
    try:
        then = datetime.fromisoformat(run.manifest.end or run.manifest.created)
    except ValueError:
        return ""
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
