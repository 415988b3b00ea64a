"""A sweep as a page of the documentation: question, figure, numbers, and how to reproduce them."""

from collections.abc import Mapping
from pathlib import Path

from lwexp.pages.display import quoted, span
from lwexp.pages.drawing import as_file
from lwexp.records import LwexpError, write_text
from lwexp.report.cap_fit import CapFit
from lwexp.report.lineage import versions_of
from lwexp.report.sweep.read_sweep import Sweep
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.sweep_figure import sweep_figure
from lwexp.report.sweep.sweep_tables import trials_table
from lwexp.runs import Run
from lwexp.text.cells import markdown_cell, markdown_table
from lwexp.text.plain import one_line

_PACKAGES = ("python", "torch", "transformers", "lightning", "tokenizers")


def write_study(sweep: Sweep, result: SweepResult | None, nodes: Mapping[str, Run], page: Path) -> Path:
    """Write the Markdown page and, next to it, its figure as an SVG of the same name.

    Raises:
        LwexpError: If no trial was evaluated.
    """
    if result is None:
        raise LwexpError(f"report: no trial of {sweep.folder} was evaluated, so there is no study to write")
    page.parent.mkdir(parents=True, exist_ok=True)
    figure = page.with_suffix(".svg")
    write_text(figure, as_file(sweep_figure(result)))
    title = markdown_cell(sweep.question or sweep.name, 300)
    parts = [
        f"# {title}",
        quoted(result.finding),
        f"![{title}]({figure.name})",
        *([_fit(result.fit)] if result.fit else []),
        "## Every trial",
        trials_table(sweep),
        "Lengths are in words: the longest training answer, the median and the longest answer. "
        "Brackets: 95% intervals over prompts. A dash: not known, or not used.",
        "## How it was made",
        _made(sweep, nodes),
    ]
    write_text(page, "\n\n".join(parts) + "\n")
    return page


def _fit(fit: CapFit) -> str:
    sure = f", 95% interval {span(fit.slope_interval, 3)}" if fit.slope_interval else ""
    rows = [
        ("models", f"{fit.n}"),
        ("slope on logarithmic axes", f"{fit.slope:.3f}{sure}"),
        ("fitted line", f"longest answer = {10**fit.intercept:.3f} x (longest training answer)^{fit.slope:.3f}"),
        ("R2 of the logarithms", f"{fit.r_squared:.4f}"),
        ("Spearman rank correlation, all models", f"{fit.rank_correlation:.3f}"),
        ("Spearman rank correlation, means at each cap", f"{fit.rank_correlation_of_means:.3f}"),
    ]
    return markdown_table(["", ""], [[name, markdown_cell(value)] for name, value in rows])


def _made(sweep: Sweep, nodes: Mapping[str, Run]) -> str:
    commits = sorted({_commit(node) for node in nodes.values() if node.manifest.git.commit})
    versions = [f"{name} {version}" for name, version in versions_of(nodes) if name in _PACKAGES]
    seconds = sum(outcome.trial.seconds or 0 for outcome in sweep.outcomes)
    return f"""\
- Command: `{_command(sweep)}`, then `python -m lwexp.report {one_line(sweep.folder.name, 120)} study=...`
- Commit: {", ".join(commits) or "not recorded"}
- Versions: {markdown_cell("; ".join(versions) or "not recorded", 400)}
- Trials: {len(sweep.outcomes)}, {seconds:,.0f} s of wall time in all"""


def _command(sweep: Sweep) -> str:
    """The overrides that all trials share, and every value of those that differ."""
    overrides = [outcome.trial.overrides for outcome in sweep.outcomes]
    shared = [item for item in overrides[0] if all(item in each for each in overrides)]
    values = [f"{k}={','.join(dict.fromkeys(o.settings.get(k, '') for o in sweep.outcomes))}" for k in sweep.varied]
    return one_line(" ".join(["python train.py -m", *shared, *values]), 500).replace("`", "'")


def _commit(node: Run) -> str:
    git = node.manifest.git
    return f"`{one_line(git.commit or '', 40)[:12]}`{' with changes' if git.dirty else ''}"
