"""Reads the runs, computes, and writes the files of a report."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lwexp.pages.display import plural
from lwexp.records import LwexpError, write_json, write_text
from lwexp.report.load import load
from lwexp.report.report_tables import as_csv, as_markdown, print_tables, summary
from lwexp.report.sweep.sweep_analysis import sweep_result
from lwexp.report.sweep.sweep_tables import sweep_markdown, sweep_summary, trials_csv
from lwexp.report.sweep.trials import is_sweep, read_sweep
from lwexp.report.view import Report, view_groups

log = logging.getLogger(__name__)


def build(run_paths: Sequence[Path | str]) -> Report:
    """Read and compute; writes nothing. One path that is a sweep's folder stands for all of its trials."""
    paths = [Path(path) for path in run_paths]
    if len(paths) == 1 and is_sweep(paths[0]):
        sweep, comparison = read_sweep(paths[0])
        return Report(comparison, view_groups(comparison), sweep, sweep_result(sweep))
    comparison = load(paths)
    return Report(comparison, view_groups(comparison), None, None)


def write(report: Report, out: Path) -> Path:
    """Write the page and its companions, each in one step.

    Raises:
        LwexpError: If the place cannot be written to.
    """
    from lwexp.report.page import render

    page = render(report)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, page)
        parts = [sweep_markdown(report.sweep, report.result)] if report.sweep else []
        parts += [as_markdown(report.views)] if report.views else []
        write_text(out.with_suffix(".md"), "\n".join(parts))
        # utf-8-sig: without the mark, spreadsheets read Chinese as something else.
        write_text(out.with_suffix(".csv"), as_csv(report.views), encoding="utf-8-sig")
        write_json(out.parent / "summary.json", _summary(report))
        if report.sweep:
            write_text(out.with_suffix(".trials.csv"), trials_csv(report.sweep), encoding="utf-8-sig")
    except OSError as error:
        raise LwexpError(f"report: cannot write {out}: {error.strerror}; choose another place with --out") from None
    for note in report.comparison.notes:
        log.warning("%s", note)
    found = report.comparison.evaluations
    counts = f"{plural(len(found), 'evaluation')}, {plural(sum(len(e.answers) for e in found), 'answer')}"
    log.info("report: %s -> %s (%s KiB)", counts, out, f"{len(page.encode()) >> 10:,}")
    return out


def make_reports(
    run_paths: Sequence[Path | str], out: Path | None, study: str | None = None, wandb: str | None = None
) -> dict[str, str]:
    """Read and compute once, write the page, print the table, and make what else was asked for.

    Args:
        run_paths: As for ``compare``.
        out: The page; None puts it beside the runs.
        study: A Markdown file to write a sweep's study to.
        wandb: entity/project of a W&B report. None: where a sweep's runs were tracked online
            under an entity, else there is none.

    Returns:
        What was made -> where it is: "report", and "study" and "W&B report" where there is one.
    """
    from lwexp.report.sweep.wandb_report import build_report, publish, read_target, scores_of, target_of

    asked = read_target(wandb) if wandb else None
    report = build(run_paths)
    if study and report.sweep is None:
        raise LwexpError(f"report: study={study}: {run_paths[0]} is not a sweep's folder (it holds no trials.json)")
    folder = report.sweep.folder if report.sweep else report.comparison.folder
    made = {"report": str(write(report, out or folder / "report.html"))}
    print_tables(report.views)
    if study and report.sweep:
        from lwexp.report.sweep.study import write_study

        made["study"] = str(write_study(report.sweep, report.result, report.comparison.nodes, Path(study)))
    target = asked or (target_of(report.comparison) if report.sweep else None)
    if target:
        table = as_markdown(report.views) if report.views else ""
        try:
            online = build_report(report.comparison, report.sweep, report.result, table, *target)
            made["W&B report"] = publish(online, scores_of(report.comparison), *target)
        except LwexpError as error:
            if asked:
                raise
            log.warning("%s", error)  # it was not asked for by name: the local report stands
    return made


def _summary(report: Report) -> dict[str, Any]:
    found = summary(report.views, report.comparison.notes) if report.views else {"notes": report.comparison.notes}
    return {**found, "sweep": sweep_summary(report.sweep, report.result)} if report.sweep else found
