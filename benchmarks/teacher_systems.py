"""The systems that benchmarks/teacher.py measures, each run in its own process.

python -m benchmarks.teacher_systems ours|original|replay URL INSTRUCTIONS WORKERS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lwexp.config import Config, compose
from lwexp.config.data import InstructionFile
from lwexp.generate.document_pool import write_all
from lwexp.generate.instructions import load_instructions
from lwexp.generate.prompts import Templates, load_templates
from lwexp.records import Instruction, Language
from lwexp.runs import RunDirectory
from lwexp.text.quoting import fill

PARAGRAPH_WORDS = 40  # what the server's canned plans ask for
TRIES = 10
FAILED = "Max tries. Failed."
Filled = Mapping[Language, Templates]


def instructions(count: int) -> list[dict[str, Any]]:
    """Requests for 8 to 16 paragraphs of 40 words, in turn."""
    lengths = [PARAGRAPH_WORDS * (8 + i % 9) for i in range(count)]
    return [
        {"id": f"doc-{i:04d}", "text": f"Write a {words}-word article about tea number {i}.", "required_words": words}
        for i, words in enumerate(lengths)
    ]


def call_counts(count: int) -> list[int]:
    """Number of calls of each document: one for its plan, and one per paragraph."""
    return [1 + 8 + i % 9 for i in range(count)]


def ours(config: Config, rows: Sequence[Instruction], templates: Filled, folder: Path) -> dict[str, float]:
    """lwexp's ``write_all``, writing into ``folder``."""
    results = write_all(config, cast(RunDirectory, SimpleNamespace(path=folder)), rows, templates).results
    drafts = [json.loads(line) for line in (folder / "drafts.jsonl").read_text(encoding="utf-8").splitlines()]
    wrong = [draft for draft in drafts if not all(text.startswith("Paragraph ") for text in draft["paragraphs"])]
    return {"calls": results.calls, "documents": len(drafts), "documents_with_error_text": len(wrong)}


def original(config: Config, rows: Sequence[Instruction], templates: Filled, workers: int) -> dict[str, float]:
    """The original's loop: one worker per document, blocking requests, every line of the plan is a step."""
    url, asked = f"{config.teacher.parameters()['base_url']}/chat/completions", 0

    def ask(prompt: str) -> str:
        nonlocal asked
        asked += 1
        body = {"model": "local", "messages": [{"role": "user", "content": prompt}], "temperature": 0.5}
        for _ in range(TRIES):
            request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=180) as answer:
                    return str(json.loads(answer.read())["choices"][0]["message"]["content"])
            except Exception:
                continue
        return FAILED

    def write(row: Instruction) -> str:
        template = templates[row.language]
        plan = ask(fill(template.plan, {"INST": row.text}))
        text = ""
        for step in [line for line in plan.split("\n") if line.strip()][:50]:
            text += ask(fill(template.write, {"INST": row.text, "PLAN": plan, "TEXT": text, "STEP": step})) + "\n\n"
        return text

    with ThreadPoolExecutor(workers) as pool:
        texts = list(pool.map(write, rows))
    wrong = sum(FAILED in text for text in texts)
    return {"calls": asked, "documents": len(texts), "documents_with_error_text": wrong}


def replay(config: Config, folder: Path) -> dict[str, float]:
    """Ask for everything in the ledger of ``folder`` again, through the client."""
    from lwexp.llm.answer import Answer
    from lwexp.llm.client import Client
    from lwexp.llm.ledger import Ledger

    drafts = [json.loads(line) for line in (folder / "drafts.jsonl").read_text(encoding="utf-8").splitlines()]
    templates = load_templates(config.generate)
    from lwexp.generate.instructions import stable_seed
    from lwexp.records import Plan
    from lwexp.text.plan_text import plan_line

    prompts = []
    for draft in drafts:
        plan, seed = Plan.model_validate(draft["plan"]), stable_seed(config.seed, draft["id"])
        values = {"INST": draft["instruction"]["text"], "PLAN": plan.text}
        prompts.append((fill(templates["en"].plan, values), seed))
        for number, step in enumerate(plan.steps, 1):
            text = "\n\n".join(draft["paragraphs"][: number - 1])
            slots = {**values, "TEXT": text, "STEP": plan_line(number, step.point, step.words, "en")}
            prompts.append((fill(templates["en"].write, slots), seed))

    async def ask_all() -> float:
        with Ledger(folder / "ledger.sqlite") as ledger:
            async with Client(config.teacher, ledger) as client:
                started = time.perf_counter()
                for prompt, seed in prompts:
                    answer = await client.ask([{"role": "user", "content": prompt}], seed=seed)
                    assert isinstance(answer, Answer)
                    assert answer.from_ledger
                return time.perf_counter() - started

    return {"calls": len(prompts), "seconds": asyncio.run(ask_all())}


def main() -> None:
    system, url, file, workers = sys.argv[1:]
    config = compose(
        "teacher=local_openai", f"teacher.base_url={url}", f"teacher.limits.concurrency={workers}",
        "instructions=file", f"generate.instructions.path={file}",
    )  # fmt: skip
    wanted = config.generate.instructions
    assert isinstance(wanted, InstructionFile)
    rows, templates = load_instructions(wanted, seed=config.seed), load_templates(config.generate)
    started, cpu = time.perf_counter(), time.process_time()
    if system == "ours":
        found = ours(config, rows, templates, Path(file).parent)
    elif system == "original":
        found = original(config, rows, templates, int(workers))
    else:
        found = replay(config, Path(file).parent)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    found = {"seconds": seconds, "cpu_seconds": cpu_seconds, "litellm_imported": "litellm" in sys.modules, **found}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
