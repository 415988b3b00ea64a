"""Size and load time of the viewer page for a run as large as LongWriter-6k: ``python -m benchmarks.viewer [--quick]``.

6,000 drafts of about 4,000 words in 10 paragraphs. The words are drawn one by one from 8,000 made-up ones with the
frequencies of natural text, which compresses less well than prose: sizes are upper bounds. "load" is the time from
opening the file in chromium until its list is shown; "open" is the time until one text, chosen at random, is shown.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.browser import openings, read_text
from benchmarks.output import show
from lwexp.config import compose
from lwexp.publish.viewer import write_viewer
from lwexp.records import Draft, Instruction, Plan, PlanStep, write_rows
from lwexp.runs import open_run

_WORDS = 8_000
_PARAGRAPHS = 10


def main() -> None:
    """Make a run and its page, and measure the time to write and to open it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 drafts")
    count = 200 if parser.parse_args().quick else 6_000
    with tempfile.TemporaryDirectory() as folder:
        run = open_run("data", compose(f"root={folder}"), default_name="bench", inputs={})
        write_rows(run.path / "drafts.jsonl", _drafts(count))
        texts_mb = (run.path / "drafts.jsonl").stat().st_size / 1e6
        started = time.perf_counter()
        write_viewer(run)
        made = time.perf_counter() - started
        page = run.path / "viewer.html"
        figures = {"drafts": count, "texts_mb": texts_mb, "page_mb": page.stat().st_size / 1e6, "make_seconds": made}
        figures |= _in_browser(page, count)
    show("viewer", {"6k_drafts": {"ours": figures}}, ("jinja2", "playwright"))


def _drafts(count: int) -> Iterator[Draft]:
    draw = random.Random(0)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 10))) for _ in range(_WORDS)]
    weights = [1 / (rank + 2) for rank in range(_WORDS)]
    for number in range(count):
        paragraphs = tuple(" ".join(draw.choices(words, weights, k=draw.randint(200, 600))) for _ in range(_PARAGRAPHS))
        steps = tuple(PlanStep(point=text[:120], words=400) for text in paragraphs)
        asked = draw.choice((2_000, 4_000, 6_000))
        instruction = Instruction(
            id=f"d-{number}", text=paragraphs[0][:300], language="en", source="bench", required_words=asked
        )
        plan = Plan(text="\n".join(step.point for step in steps), steps=steps)
        yield Draft(
            id=f"d-{number}", instruction=instruction, plan=plan, paragraphs=paragraphs,
            finish_reasons=("stop",) * _PARAGRAPHS, teacher="bench", cost_usd=0.1,
        )  # fmt: skip


def _in_browser(page: Path, count: int) -> dict[str, float]:
    """Load and open times, medians of three; empty without a browser."""
    loads, opens = [], []
    for tab, seconds in openings(page):
        loads.append(seconds)
        wanted = random.Random(len(loads)).randrange(count)
        opens.append(read_text(tab, wanted, f"d-{wanted}"))
    if not loads:
        return {}
    return {"load_seconds": statistics.median(loads), "open_seconds": statistics.median(opens)}


if __name__ == "__main__":
    main()
