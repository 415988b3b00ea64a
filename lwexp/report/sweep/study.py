"""A sweep as a page of the documentation: question, figure, numbers, and how to get them again."""

import re
from collections.abc import Mapping
from pathlib import Path

from lwexp.pages.display import quoted, span
from lwexp.pages.drawing import INK, LINE, MUTED, PAPER, palette
from lwexp.records import LwexpError
from lwexp.report.lineage import versions_of
from lwexp.report.sweep.sweep_analysis import SweepResult
from lwexp.report.sweep.sweep_figure import sweep_figure
from lwexp.report.sweep.sweep_tables import sweep_markdown
from lwexp.report.sweep.trials import Sweep
from lwexp.runs import Run
from lwexp.text.cells import markdown_cell, markdown_table
from lwexp.text.plain import one_line

_VARIABLES = {"--ink": INK, "--muted": MUTED, "--line": LINE, "--card": PAPER, "--sans": "sans-serif"}
_PACKAGES = ("python", "torch", "transformers", "lightning", "tokenizers")


def write_study(sweep: Sweep, result: SweepResult | None, nodes: Mapping[str, Run], page: Path) -> Path:
    """Write the Markdown page and its figure beside it, an SVG of the same name.

    Raises:
        LwexpError: If no trial was evaluated.
    """
    if result is None:
        raise LwexpError(f"report: no trial of {sweep.folder} was evaluated, so there is no study to write")
    page.parent.mkdir(parents=True, exist_ok=True)
    figure = page.with_suffix(".svg")
    figure.write_text(study_figure(result), encoding="utf-8")
    page.write_text(study_page(sweep, result, nodes, figure.name), encoding="utf-8")
    return page


def study_figure(result: SweepResult) -> str:
    """The answer's figure as a file of its own: light colours on white, for pages that show images as they are."""
    places = {point.evaluation.label: place for place, point in enumerate(result.points)}
    wide = str(sweep_figure(result, places).svg).split("</svg>", 1)[0] + "</svg>\n"
    values = {f"--m{place}": light for place, (light, _) in enumerate(palette(max(1, len(places))))} | _VARIABLES
    wide = re.sub(r"var\((--\w+)\)", lambda match: values[match[1]], wide)
    box = re.search(r'viewBox="0 0 (\d+) (\d+)">', wide)
    assert box is not None
    size = f'width="{box[1]}" height="{box[2]}"'
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return wide.replace(box[0], f'{spaces} {size} {box[0]}<rect {size} fill="{PAPER}"/>', 1)


def study_page(sweep: Sweep, result: SweepResult, nodes: Mapping[str, Run], figure: str) -> str:
    title = sweep.question or sweep.name
    parts = [
        f"# {markdown_cell(title, 300)}",
        quoted(result.finding),
        f"![{markdown_cell(title, 300)}]({figure})",
        *([_fit(result)] if result.fit else []),
        "## Every trial",
        sweep_markdown(sweep, None).split("\n\n", 1)[1].strip(),
        "Brackets: 95% bootstrap intervals over prompts. A dash: not known, or not used.",
        "## How it was made",
        _made(sweep, nodes),
    ]
    return "\n\n".join(parts) + "\n"


def _fit(result: SweepResult) -> str:
    fit = result.fit
    assert fit is not None
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
    commits = sorted({_commit(node) for node in nodes.values() if _commit(node)})
    versions = [f"{name} {version}" for name, version in versions_of(nodes) if name in _PACKAGES]
    seconds = [outcome.trial.seconds for outcome in sweep.outcomes if outcome.trial.seconds is not None]
    lines = [
        f"- Command: `{_command(sweep)}`, then `python -m lwexp.report {one_line(sweep.folder.name, 120)} study=...`",
        f"- Commit: {', '.join(commits) or 'not recorded'}",
        f"- Versions: {markdown_cell('; '.join(versions) or 'not recorded', 400)}",
        f"- Trials: {len(sweep.outcomes)}, {sum(seconds):,.0f} s of wall time in all",
    ]
    return "\n".join(lines)


def _command(sweep: Sweep) -> str:
    """The overrides that all trials share, and every value of those that differ."""
    overrides = [outcome.trial.overrides for outcome in sweep.outcomes]
    shared = [item for item in overrides[0] if all(item in each for each in overrides)]
    values = [f"{k}={','.join(dict.fromkeys(o.settings.get(k, '') for o in sweep.outcomes))}" for k in sweep.varied]
    return one_line(" ".join(["python train.py -m", *shared, *values]), 500).replace("`", "'")


def _commit(node: Run) -> str:
    git = node.manifest.git
    commit = one_line(git.commit or "", 40)[:12]
    return f"`{commit}`{' with changes' if git.dirty else ''}" if commit else ""
