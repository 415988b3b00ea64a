"""Twelve behaviours of providers at six places that read replies: each cell of the table in docs/reliability.md."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lwexp.llm.client import Client
from lwexp.llm.ledger import Ledger
from lwexp.llm.pool import NothingRead, ask_and_read
from lwexp.records import LwexpError
from lwexp.text.replies import UnreadableError
from tests import ROOT
from tests.llm.providers.behaviours import THOUGHTS
from tests.llm.providers.evaluations import bench_file, engine, evaluation
from tests.llm.providers.runs import STORIES, endpoint, generate, rows_of, select_from
from tests.llm.providers.server import Provider, good_answer

BEHAVIOURS = (
    "broken", "think_closing_tag", "think_harmony", "thinks_longer", "never_closes_its_thoughts", "finish_error",
    "filter_alibaba", "long_sglang", "money_deepseek", "busy", "no_seed", "no_usage",
)  # fmt: skip
DOORS = ("plan", "paragraph", "select", "judge", "engine", "file")
NOVELS = [f"Write a long novel about {thing} and a hundred years." for thing in ("a mill", "the last orchard")]
PRICE = "teacher.price={input_per_mtok: 1, output_per_mtok: 1}"
MOST_CALLS = 20  # for two documents; no behaviour may cause endless requests


class Cell(NamedTuple):
    behaviour: str
    door: str
    outcome: str


def stated() -> Iterator[Cell]:
    """The cells of the page: rows begin with the behaviour's name in backticks."""
    for line in (ROOT / "docs" / "reliability.md").read_text().splitlines():
        if named := re.match(r"\| `(\w+)` \|", line):
            outcomes = [cell.strip() for cell in line.strip("|").split("|")][2:]
            yield from (Cell(named[1], door, outcome) for door, outcome in zip(DOORS, outcomes, strict=True))


def test_the_page_states_every_cell_once() -> None:
    assert [cell[:2] for cell in stated()] == [(name, door) for name in BEHAVIOURS for door in DOORS]


@pytest.mark.parametrize("cell", list(stated()), ids=lambda cell: f"{cell.behaviour}-{cell.door}")
def test_each_cell_comes_out_as_the_page_says(
    cell: Cell, provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two documents, two tries a call; no file of the run holds reasoning, half a text or what UTF-8 refuses."""
    behaviour = f"{cell.behaviour}@{cell.door}"
    if cell.door == "judge":
        outcome = verdict(provider, behaviour, tmp_path)
    elif cell.door in ("engine", "file"):
        outcome = answers(cell.door, provider, f"{cell.behaviour}@other", tmp_path, monkeypatch)
    else:
        outcome = of_run(cell.door, provider, behaviour, tmp_path)
    assert outcome == cell.outcome
    assert len(provider.calls) <= MOST_CALLS
    half = good_answer(cell.door, "")[:25] + '"'
    for path in tmp_path.rglob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        if path.parent != tmp_path:  # not the input
            text = re.sub(r'"reasoning": ?"[^"]*"', "", text)  # responses.jsonl has it beside the answer
            assert THOUGHTS[:20] not in text
            assert half not in text


def of_run(door: str, provider: Provider, behaviour: str, folder: Path) -> str:
    """What a run says of both of its documents, which fare alike."""
    try:
        if door == "select":
            run = select_from(folder, provider, behaviour, PRICE, texts=NOVELS)
        else:
            run = generate(folder, provider, behaviour, PRICE, texts=STORIES[:2])
        said = str(run.manifest.results["tally"])
    except LwexpError as error:
        said = str(error)
    found = re.search(r"2 in = (?:0 kept \+ 2 ([a-z ]+)|2 kept)", said)
    return said if found is None else found[1].strip() if found[1] else "kept"


def answers(door: str, provider: Provider, behaviour: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an evaluation of two prompts makes of the answers, which fare alike: by an API engine, or from a file."""
    monkeypatch.setattr("lwexp.report.compare", lambda *_: None)
    if door == "engine":
        source = (*engine(provider, behaviour), "sample.max_new_tokens=8192")
    else:
        source = (f"responses={file_of_another_tool(provider, behaviour, folder)}",)
    run = evaluation(folder / "runs", bench_file(folder, STORIES[:2]), "judge=none", *source)
    reasons: set[str] = set()
    if (run.path / "answer_failures.jsonl").exists():
        reasons = {row["reason"] for row in rows_of(run, "answer_failures.jsonl")}
    rows = rows_of(run, "responses.jsonl")
    if all(row["finish_reason"] != "error" for row in rows):
        assert {row["text"].rstrip("\ufffd ") for row in rows} == {good_answer("other", "").strip()}
        return "kept"
    assert not any(row["text"] for row in rows)
    return " ".join(reasons).replace("_", " ") or "missing"


def file_of_another_tool(provider: Provider, behaviour: str, folder: Path) -> Path:
    """What a plain script stores: the text and finish reason of each answer as they came, or null after an error."""
    path, lines = folder / "given.jsonl", []
    for prompt in STORIES[:2]:
        body = {
            "model": f"b-{behaviour}", "max_tokens": 8192, "seed": 1, "messages": [{"role": "user", "content": prompt}],
        }  # fmt: skip
        request = urllib.request.Request(f"{provider.url}/chat/completions", json.dumps(body).encode())
        row: dict[str, object] = {"prompt": prompt, "response": None}
        try:
            with urllib.request.urlopen(request) as reply:
                choice = json.load(reply)["choices"][0]
            row["finish_reason"], row["response"] = choice["finish_reason"], choice["message"]["content"]
            if "reasoning_content" in choice["message"]:
                row["reasoning_content"] = choice["message"]["reasoning_content"]
        except urllib.error.HTTPError as error:
            row["error"] = f"{error.code}: {error.read().decode()}"
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def verdict(provider: Provider, behaviour: str, folder: Path) -> str:
    """What the client's door for verdicts makes of a reply. Its reader takes the good verdict alone."""

    def read(text: str) -> str:
        if good_answer("judge", "") not in text:
            raise UnreadableError("it is not the verdict")
        return "kept"

    async def run() -> str:
        with Ledger(folder / "ledger.sqlite") as ledger:
            async with Client(endpoint(provider, behaviour, PRICE), ledger) as client:
                return await ask_and_read(client, "Score it: reading_experience", read, str, seed=1)

    try:
        return asyncio.run(run())
    except NothingRead as error:
        return error.reason.replace("_", " ")
