"""Whole evaluations against the provider: it answers the prompts, judges the answers, or both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lwexp.config import compose
from lwexp.recipe.evaluation import evaluate
from lwexp.runs import RunDirectory
from tests.llm.providers.runs import STORIES
from tests.llm.providers.server import Provider

LIMITS = ("concurrency=2", "max_attempts=2", "initial_backoff_seconds=0.05", "timeout_seconds=10")


def bench_file(folder: Path, texts: Sequence[str] = STORIES[:3], name: str = "bench.jsonl") -> Path:
    """Prompts of 60 words."""
    path = folder / name
    rows = [{"id": f"p{number}", "prompt": text, "length": 60, "language": "en"} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def engine(provider: Provider, behaviour: str = "healthy") -> tuple[str, ...]:
    """Overrides for an engine that behaves so."""
    limits = (f"engine.limits.{limit}" for limit in LIMITS)
    return "engine=vllm", f"engine.model=hosted_vllm/b-{behaviour}", f"engine.base_url={provider.url}", *limits


def judge(provider: Provider, behaviour: str = "healthy") -> tuple[str, ...]:
    """Overrides for a judge that behaves so."""
    limits = (f"judge.limits.{limit}" for limit in LIMITS)
    return (
        "judge=server",
        f"judge.model=hosted_vllm/b-{behaviour}",
        f"judge.base_url={provider.url}",
        "judge.anchors=off",
        *limits,
    )


def evaluation(root: Path, bench: Path, *overrides: str) -> RunDirectory:
    """Evaluate on a bench file."""
    run = evaluate(compose(f"root={root}", "bench=jsonl", f"bench.path={bench}", "bench.name=mine", *overrides))
    assert run is not None
    return run
