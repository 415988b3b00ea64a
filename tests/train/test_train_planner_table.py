"""Every ZeRO-3 row of docs/planner.md's table, worked out a second time from the formulas of that page.

Nothing here imports the planner: sizes and settings are written down, so a mistake in either shows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest

from lwexp.config.folders import REPOSITORY

GIB = 2**30


class Model(NamedTuple):
    """N, and the letters of docs/planner.md."""

    n: int
    hidden: int
    intermediate: int
    query: int
    key: int
    vocabulary: int
    layers: int


MODELS = {
    "GLM-4-9B": Model(9_399_951_360, 4096, 13_696, 4096, 256, 151_552, 40),
    "Llama-3.1-8B": Model(8_030_261_248, 4096, 14_336, 4096, 1024, 128_256, 32),
}
GPUS = {"8x80": (8, 79, 1000), "4x80": (4, 79, 500), "8x40": (8, 39, 500), "1xH200": (1, 139, 128)}
"""Ranks, GiB of each and of the host."""
OFFLOADED = {
    "none": (0.0, False, False), "activations": (0.0, False, True), "half of the optimiser": (0.5, False, False),
    "optimiser": (1.0, False, False), "both": (1.0, True, False),
}  # fmt: skip
"""r, whether the weights are offloaded, whether the activations are."""


def rows() -> list[list[str]]:
    page = (REPOSITORY / "docs" / "planner.md").read_text(encoding="utf-8")
    table = page.split("## Twelve configurations")[1].split("<!-- table")[1].split("<!-- end")[0]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return [row for row in cells[2:] if row[1] in GPUS and row[2] in OFFLOADED]  # those under ZeRO-3


def pinned(size: float, gpus: str) -> float:
    """torch rounds page-locked memory up to a power of two; on the H200's small host it is not page-locked."""
    return size if gpus == "1xH200" or size == 0 else 2.0 ** math.ceil(math.log2(size))


def device(model: Model, gpus: str, offloaded: str, tokens: int) -> float:
    w, (r, weights, activations) = GPUS[gpus][0], OFFLOADED[offloaded]
    n, h, head = model.n, model.hidden, model.vocabulary * model.hidden
    always = (0 if weights else 2 * n / w) + (4 + 12) * n * (1 - r) / w + 3 * GIB
    update = 4 * min(n / w, 1e9) if r < 1 else 0
    gathered = 2 * min(n, 1.1e9 + head) if w > 1 or weights else 0
    inputs = (3 if activations else model.layers) * tokens * h * 2
    layer = tokens * 2 * (9 * h + 6 * model.intermediate + 3 * model.query + 2 * model.key)
    log_probs = 2 * GIB / 2 + 2 * head + 6 * tokens * h * 2
    return (always + max(update, gathered + 8 * 2e8 + inputs + max(layer, log_probs))) / GIB


def host(model: Model, gpus: str, offloaded: str, tokens: int) -> float:
    w, (r, weights, activations) = GPUS[gpus][0], OFFLOADED[offloaded]
    n, each = model.n, 3.0 * GIB
    if weights:
        each += pinned(2 * n / w, gpus)
    if r:
        groups = math.ceil(r * n / w / 1e9)
        each += 12 * r * n / w + pinned(4 * n / w, gpus) + groups * pinned(4 * r * n / w / groups, gpus)
    if activations:
        each += model.layers * tokens * model.hidden * 2
    return w * each / GIB


@pytest.mark.parametrize("row", rows(), ids=" ".join)
def test_a_row_follows_from_the_formulas_of_its_page(row: list[str]) -> None:
    name, gpus, offloaded, tokens, said_device, said_host, fit = row
    what = (MODELS[name], gpus, offloaded, int(tokens.replace(",", "")))
    _, gib, host_gib = GPUS[gpus]
    here, there = device(*what), host(*what)
    assert said_device == f"{here:.1f} of {gib}"
    assert said_host == f"{there:.0f} of {host_gib}"
    share = max(here / gib, there / host_gib)
    assert fit == ("no" if share > 1 else "tight" if share > 0.95 else "fits")


def test_the_rows_are_found() -> None:
    assert len(rows()) >= 9
