"""report: evaluations or a sweep -> one HTML page, a Markdown table, a CSV and summary.json.

Reads evaluation runs (manifest.json, config.json, responses.jsonl, verdicts.jsonl) and the runs they were
made from (manifest.json, config.json, metrics.jsonl, mixture.json). Writes only the files it is asked for.
A sweep's folder (sweep.json, trials.json) is read with all its trials. A training run gets its page
(training.html); nothing else in a run is changed. Never touches models or judges. Uses the network only for a W&B
report: if one is requested by name, or if a sweep's runs were tracked online under an entity.
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["compare"]


def compare(run_paths: Sequence[Path | str], out: Path | str | None = None) -> Path:
    """Compare evaluations: print their table, write the page, and return the path of the HTML file.

    Args:
        run_paths: Evaluation or training run directories, folders of runs, or glob patterns.
        out: The HTML file; None writes report.html next to the runs. The same name with .md and .csv, and
            summary.json, are written next to it; if the texts are many, so is a folder with them (report_texts).

    Raises:
        LwexpError: If a path does not exist or has no evaluation.
    """
    from lwexp.report.build import make_reports

    return Path(make_reports(run_paths, None if out is None else Path(out))["report"])
