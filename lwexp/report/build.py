"""Reads runs, computes their comparison, and writes the files of a report."""

import logging
from collections.abc import Sequence
from pathlib import Path

from lwexp.pages.display import plural
from lwexp.pages.text_files import write_page
from lwexp.records import LwexpError, write_text
from lwexp.report.load import Comparison, load
from lwexp.report.report_tables import as_csv, as_markdown, print_tables, summary
from lwexp.report.sweep.read_sweep import Sweep, is_sweep, read_sweep
from lwexp.report.sweep.sweep_analysis import SweepResult, sweep_result
from lwexp.report.sweep.sweep_tables import sweep_markdown, sweep_summary, trials_csv
from lwexp.runs.artifacts import REPORT

log = logging.getLogger(__name__)


def make_reports(
    run_paths: Sequence[Path | str], out: Path | None, study: str | None = None, wandb: str | None = None
) -> dict[str, str]:
    """Read and compute once, write the page, print the table, and make the other outputs requested.

    Args:
        run_paths: As for ``compare``. A single path to a sweep's folder means all of its trials.
        out: The page; None writes it next to the runs.
        study: A Markdown file to write a sweep's study to.
        wandb: entity/project of a W&B report. None makes one only of a sweep whose runs were tracked online under
            an entity.

    Returns:
        Output -> its location, for "report" and, if made, "study" and "W&B report".
    """
    from lwexp.report.sweep.wandb_report import build_report, publish, read_target, scores_of, target_of

    asked = read_target(wandb) if wandb else None
    paths = [Path(path) for path in run_paths]
    sweep: Sweep | None = None
    if len(paths) == 1 and is_sweep(paths[0]):
        sweep, comparison = read_sweep(paths[0])
    else:
        comparison = load(paths)
    result = sweep_result(sweep) if sweep else None
    if study and sweep is None:
        raise LwexpError(f"report: study={study}: {paths[0]} is not a sweep's folder (it has no trials.json)")
    page = out or (sweep.folder if sweep else comparison.folder) / REPORT
    _write(comparison, sweep, result, page)
    made = {"report": str(page)}
    print_tables(comparison.groups)
    if study and sweep:
        from lwexp.report.sweep.study import write_study

        made["study"] = str(write_study(sweep, result, comparison.nodes, Path(study)))
    if target := asked or (target_of(comparison) if sweep else None):
        try:
            online = build_report(comparison, sweep, result, as_markdown(comparison.groups), *target)
            made["W&B report"] = publish(online, scores_of(comparison), *target)
        except LwexpError as error:
            if asked:
                raise
            log.warning("%s", error)  # not requested explicitly, so the local report is enough
    return made


def _write(comparison: Comparison, sweep: Sweep | None, result: SweepResult | None, out: Path) -> None:
    """Write the page and its companions, each in one step."""
    from lwexp.report.page import render

    page, texts = render(comparison, sweep, result, out)
    numbers = summary(comparison.groups, comparison.notes)
    tables = [sweep_markdown(sweep, result)] if sweep else []
    tables += [as_markdown(comparison.groups)] if comparison.groups else []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_page(out, page, texts)
        write_text(out.with_suffix(".md"), "\n".join(tables))
        # utf-8-sig: without the byte order mark, spreadsheets garble Chinese.
        write_text(out.with_suffix(".csv"), as_csv(comparison.groups), encoding="utf-8-sig")
        if sweep:
            numbers.sweep = sweep_summary(sweep, result)
            write_text(out.with_suffix(".trials.csv"), trials_csv(sweep), encoding="utf-8-sig")
        numbers.write(out.parent)
    except OSError as error:
        raise LwexpError(f"report: cannot write {out}: {error.strerror}; choose another path with --out") from None
    for note in comparison.notes:
        log.warning("%s", note)
    found = comparison.evaluations
    missing = sum(each.total.n_missing for each in found)
    counts = f"{plural(len(found), 'evaluation')}, {plural(sum(each.total.n for each in found), 'answer')}"
    counts += f", {missing:,} missing" if missing else ""
    size = f"{len(page.encode()) >> 10:,} KiB"
    beside = f"; its texts are in {texts.folder} beside it, {texts.size >> 10:,} KiB" if texts else ""
    log.info("report: %s -> %s (%s%s)", counts, out, size, beside)
