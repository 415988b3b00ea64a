"""The documentation's pages: each is in the site's index, and their tables say what the code says."""

import re
from pathlib import Path

import pytest

from lwexp.config import compose
from lwexp.train.planner.dry_run import describe_plan
from tests import ROOT

DOCS = ROOT / "docs"


def listed_pages(folder: Path) -> set[str]:
    """Names in the lists of a folder's index; a pattern stands for the pages that it matches."""
    blocks = re.findall(r"```\{toctree\}(.*?)```", (folder / "index.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line and line[0] not in ":}"]
    return {page.relative_to(folder).as_posix() for line in lines for page in folder.glob(f"{line}.md")}


def test_every_page_is_in_the_index():
    pages = {page.relative_to(DOCS) for page in DOCS.rglob("*.md")}
    english = {page.as_posix() for page in pages if page.parts[0] not in ("_site", "zh")}  # zh: test_docs_zh.py
    assert english - listed_pages(DOCS) == {"index.md"}


def memory_rows() -> list[tuple[str, list[str]]]:
    rows = re.findall(r"^\| `(\w[\w.]*)` \| (.*) \|$", (DOCS / "one_gpu.md").read_text(), re.MULTILINE)
    return [(model, cells.split(" | ")) for model, cells in rows]


@pytest.mark.parametrize(("model", "cells"), memory_rows(), ids=lambda value: value if isinstance(value, str) else "")
def test_memory_on_the_page_about_one_gpu(model, cells):
    """One cell of each row, a different one in each: dry runs take 0.2 s."""
    kinds = ((), ("model.adapter=lora",), ("model.adapter=lora", "model.quantize=nf4"))
    choices = [(kind, tokens) for kind in kinds for tokens in (8192, 32768)]
    place = [name for name, _ in memory_rows()].index(model) % len(choices)
    kind, tokens = choices[place]
    plan = describe_plan(
        compose(f"model={model}", "hardware=gpu1", "hardware.device_gib=200", f"pack.max_tokens={tokens}", *kind)
    )  # fmt: skip
    assert re.findall(r"> gpu +([\d.]+) of 200 GiB", plan.text) == [cells[place]]
    assert len(memory_rows()) == 8


def comparison_cells() -> list[str]:
    """The cells about other tools in the two tables of features."""
    page = (DOCS / "compare.md").read_text()
    features = page.split("## Training")[1].split("## What they do better")[0]
    rows = [line.strip("| ").split(" | ") for line in features.splitlines() if line.startswith("| ")]
    return [cell for row in rows if row[0] != "" for cell in row[2:]]


def test_each_cell_about_another_tool_has_a_source_or_says_no():
    """A source is a path in code marks. "no" alone means that nothing was found, as the page says."""
    cells = [
        cell
        for cell in comparison_cells()
        if cell not in ("axolotl", "LLaMA-Factory", "TRL", "EvalScope", "inspect_ai")
    ]
    assert len(cells) == 7 * 3 + 8 * 2
    assert [cell for cell in cells if "`" not in cell and cell != "no" and not cell.startswith("with lwexp")] == []


def test_the_readme_says_of_other_tools_what_the_comparison_says():
    """The first word of a cell. The comparison has a row for each of these of the README."""
    rows = {
        "writes long training data": "writes long training data",
        "memory, hours and dollars": "says before a start",
        "packs DPO pairs": "packs DPO pairs",
        "builds preference pairs": "builds preference pairs",
    }
    readme, page = (ROOT / "README.md").read_text(), (DOCS / "compare.md").read_text()

    def first_words(text: str, start: str) -> list[str]:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
        return [re.split(r"[\W_]", cell)[0] for cell in line.strip("| ").split(" | ")[1:5]]

    for here, there in rows.items():
        assert first_words(readme, here) == first_words(page, there), here
