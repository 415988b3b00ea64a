"""Runs of AgentWrite for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lwexp.config import compose
from lwexp.generate import write_drafts
from lwexp.runs import RunDirectory

OUTPUTS = ("drafts.jsonl", "conversations.jsonl", "draft_failures.jsonl")


def write(root: Path, *overrides: str) -> RunDirectory:
    run = write_drafts(compose(f"root={root}", *overrides))
    assert run is not None
    return run


def results_of(run: RunDirectory) -> dict[str, Any]:
    assert run.manifest.results is not None
    return run.manifest.results


def outputs(run: RunDirectory) -> list[bytes]:
    return [(run.path / name).read_bytes() for name in OUTPUTS]
