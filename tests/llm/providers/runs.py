"""Whole runs and single questions against the provider, as a user's command makes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lwexp.config import compose
from lwexp.extend.endpoint import Endpoint
from lwexp.generate import write_drafts
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.llm.client import Client
from lwexp.llm.ledger import Ledger
from lwexp.recipe.data import select
from lwexp.runs import RunDirectory
from tests.llm.providers.server import Provider

TOPICS = ("a ship's cook", "bakers", "the tide", "rope makers", "a lighthouse", "gulls", "the fish market")
STORIES = [f"Write a 60-word story, part {i}, about {topic}." for i, topic in enumerate(TOPICS)]


def teacher(provider: Provider, behaviour: str, *overrides: str) -> tuple[str, ...]:
    """Overrides for a teacher that behaves so; patience is short."""
    return (
        "teacher=local_openai", f"teacher.model=hosted_vllm/b-{behaviour}", f"teacher.base_url={provider.url}",
        "teacher.limits.initial_backoff_seconds=0.05", "teacher.limits.max_attempts=2", "teacher.limits.concurrency=2",
        "teacher.limits.timeout_seconds=10", *overrides,
    )  # fmt: skip


def instruction_file(folder: Path, texts: Sequence[str] = STORIES, name: str = "set.jsonl") -> Path:
    """A file of instructions; the texts may hold half an emoji."""
    path = folder / name
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def generate(folder: Path, provider: Provider, behaviour: str, *overrides: str, texts: Sequence[str] = STORIES) -> Any:
    """Write drafts of instructions in ``folder``; returns the run."""
    file = instruction_file(folder, texts)
    run = write_drafts(
        compose(
            f"root={folder / 'runs'}", "instructions=file", f"generate.instructions.path={file}",
            *teacher(provider, behaviour, *overrides),
        )
    )  # fmt: skip
    assert run is not None
    return run


def select_from(folder: Path, provider: Provider, behaviour: str, *overrides: str, texts: Sequence[str]) -> Any:
    """Select from prompts in ``folder``; returns the run."""
    file = instruction_file(folder, texts, "chat.jsonl")
    run = select(
        compose(
            "task=select", f"root={folder / 'runs'}", f"source={file}", "select.anchors=off",
            *teacher(provider, behaviour, *overrides),
        )
    )  # fmt: skip
    assert run is not None
    return run


def rows_of(run: RunDirectory, name: str) -> list[dict[str, Any]]:
    """The rows of a file of a run."""
    return [json.loads(line) for line in (run.path / name).read_text(encoding="utf-8").splitlines()]


def endpoint(provider: Provider, behaviour: str, *overrides: str) -> Endpoint:
    """The teacher alone."""
    return compose(*teacher(provider, behaviour, *overrides)).teacher


def ask(
    model: Endpoint, folder: Path, texts: Sequence[str], *, schema: type[BaseModel] | None = None
) -> list[Answer | NoAnswer]:
    """Ask one after the other, in one client."""

    async def run() -> list[Answer | NoAnswer]:
        with Ledger(folder / "ledger.sqlite") as ledger:
            async with Client(model, ledger) as client:
                return [
                    await client.ask([{"role": "user", "content": text}], seed=7, response_schema=schema)
                    for text in texts
                ]

    return asyncio.run(run())
