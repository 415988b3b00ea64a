"""Write the page of make study-real from the finished evaluations below a folder.

    python -m benchmarks.real_model runs/real_cap docs/study/real_model.md

Trainings may be missing; the page then says how many there are.
"""

import sys
from pathlib import Path

from benchmarks.real_model.figure import study_figure
from benchmarks.real_model.page import page_text
from benchmarks.real_model.study import read_study
from lwexp.pages.drawing import as_file
from lwexp.records import write_text


def main(folder: Path, page: Path) -> None:
    """Write the page and its figure."""
    study = read_study(folder)
    if not study.trained:
        raise SystemExit(f"{folder}: no finished evaluation of a trained model; run make study-real")
    figure = page.with_suffix(".svg")
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(figure, as_file(study_figure(study)))
    write_text(page, page_text(study, figure.name))
    print(f"{page}: {sum(len(setting.cells) for setting in study.trained)} trained models")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
