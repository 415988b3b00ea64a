"""Compare evaluations: one HTML page, a table on the terminal, Markdown, CSV and summary.json.

    python -m lwexp.report runs/demo                       every evaluation below a folder
    python -m lwexp.report runs/demo/eval-*                these evaluations
    python -m lwexp.report runs/long-1a2b3c4d              the evaluations of one training run
    python -m lwexp.report runs/a runs/b --out compare.html
    python -m lwexp.report runs/x/sweep-lr-1a2b3c4d        a sweep: the answer to its question, and every trial
    python -m lwexp.report <sweep> study=docs/study/x.md   also a Markdown page and its figure as SVG
    python -m lwexp.report <sweep> wandb=my-team/lwexp     also a W&B report of the runs tracked there

Give run directories, folders of runs or glob patterns. --out FILE (or out=FILE) names the page; without it,
report.html is written next to the runs. A sweep tracked with tracking=wandb and an entity always gets a W&B report.
The page opens without a network. It is one file; the texts of a long report lie in a folder beside it, report_texts.
"""

import sys
from pathlib import Path

from lwexp.records import LwexpError, exit_code

_OPTIONS = {"out": "report.html", "study": "docs/study/output_cap.md", "wandb": "my-team/lwexp"}


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code, as listed in records/endings.py."""

    def checked() -> int:
        if not arguments or {"--help", "-h"} & set(arguments):
            print(__doc__)
            return 0 if arguments else 2
        paths, options = read_arguments(arguments)
        from lwexp.report.build import make_reports
        from lwexp.runs.logs import console_log

        console_log()
        out = Path(options["out"]) if "out" in options else None
        for name, place in make_reports(paths, out, options.get("study"), options.get("wandb")).items():
            print(f"{name}: {place}")
        return 0

    return exit_code(checked, again="run the same command again")


def read_arguments(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Split the command line into paths and options.

    Raises:
        LwexpError: At an unknown option, an option without its value, or no path.
    """
    paths: list[str] = []
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        key, equals, value = word.partition("=")
        name = {"--out": "out", "-o": "out"}.get(key, key if equals else "")
        if name in _OPTIONS:
            options[name] = value if equals else next(words, "")
            if not options[name]:
                raise LwexpError(f"report: {key} needs a value, such as {key}{equals or ' '}{_OPTIONS[name]}")
        elif word.startswith("-"):
            raise LwexpError(f"report: {word}: no such option; there are --out FILE and --help")
        else:
            paths.append(word)
    if not paths:
        raise LwexpError("report: give at least one run directory or a folder of runs")
    if not options.get("study", ".md").endswith(".md"):
        raise LwexpError(f"report: study={options['study']}: give a Markdown file, such as study={_OPTIONS['study']}")
    return paths, options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
