"""Answers: drafts by the offline teacher, the ledger of paid answers, and the report over many evaluations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Work = Callable[[int, Path], Mapping[str, float]]
_AT_ONCE = 256
"""Answers that arrive together, as with that many calls in flight."""
_ANSWERS = 1_000
"""Of each model in the report."""


def drafted() -> Work:
    """``lwexp generate`` with the offline teacher: what lwexp itself takes for a draft of 800 words and its pages."""
    from lwexp.config import compose
    from lwexp.recipe.data import write

    def work(size: int, folder: Path) -> Mapping[str, float]:
        run = write(
            compose(
                "teacher=offline", "instructions=synthetic", f"generate.instructions.count={size}",
                "generate.instructions.required_words=[800]", f"root={folder / 'runs'}",
            )
        )  # fmt: skip
        assert run is not None
        results = run.manifest.results or {}
        run_bytes = sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
        return {"drafts": results["conversations"], "calls": results["calls"], "run_mib": run_bytes / 2**20}

    compose("teacher=offline", "instructions=synthetic")
    return work


def stored() -> Work:
    """A ledger that waits for the disk: every answer stored, then opened again and every answer found."""
    from lwexp.llm.ledger import Entry, Ledger, request_key

    text = "The river is long, and on its banks are towns. " * 21  # 1 KB

    def key(number: int) -> str:
        return request_key({"model": "openai/m", "messages": [{"role": "user", "content": f"Write {number}."}]})

    async def write(ledger: Ledger, size: int) -> None:
        async def one(number: int) -> None:
            call = await ledger.open_call(key(number), 0.01)
            await ledger.settle(key(number), Entry(text, "stop", 10, 250, 0.001, 1), model="openai/m", call=call)

        for start in range(0, size, _AT_ONCE):
            await asyncio.gather(*(one(number) for number in range(start, min(size, start + _AT_ONCE))))

    def work(size: int, folder: Path) -> Mapping[str, float]:
        began = time.perf_counter()
        with Ledger(folder / "ledger.sqlite") as ledger:
            asyncio.run(write(ledger, size))
        written = time.perf_counter()
        with Ledger(folder / "ledger.sqlite") as ledger:
            assert ledger.totals().answers == size
            summed = time.perf_counter()
            assert all(ledger.get(key(number)) for number in range(size))
        found = time.perf_counter()
        return {
            "write_seconds": written - began,
            "totals_seconds": summed - written,
            "resume_seconds": found - summed,
            "file_mib": (folder / "ledger.sqlite").stat().st_size / 2**20,
        }

    return work


def evaluations(models: int, folder: Path) -> None:
    """Judged answers of 125 to 2,400 words, as in ``benchmarks.report_page`` but half as long."""
    from benchmarks.report_page import write_runs

    write_runs(folder / "input", models, _ANSWERS, lengths=(125, 250, 500, 1_000, 2_000))


def compared() -> Work:
    """``lwexp report`` over all of them."""
    from lwexp.report import compare

    def work(size: int, folder: Path) -> Mapping[str, float]:
        page = compare(sorted((folder / "input").iterdir()), folder / "report.html")
        beside = sum(file.stat().st_size for file in folder.glob("report_texts/**/*") if file.is_file())
        return {"page_mib": page.stat().st_size / 2**20, "texts_mib": beside / 2**20}

    return work
