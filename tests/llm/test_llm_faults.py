"""Whole runs against a server that fails: five hundred documents, a hard budget, kill -9."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.kills_generate import survive
from lwexp.config import compose
from lwexp.config.data import InstructionFile
from lwexp.extend.endpoint import Price
from lwexp.generate.document_pool import write_all
from lwexp.generate.instructions import load_instructions
from lwexp.generate.prompts import load_templates
from lwexp.llm.client import Client
from lwexp.llm.endpoints.hosted import LiteLLMTeacher
from lwexp.llm.ledger import Ledger
from lwexp.llm.rate_limit import StaggeredStart, TokenWindow
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory
from tests import forked
from tests.llm.loopback import loopback_server

DOCUMENTS = 500
FINAL = {"filter": "content_filter", "filter400": "content_filter", "context": "context_length"}


@pytest.mark.slow
def test_five_hundred_documents_with_faults_at_a_third_of_the_calls(tmp_path: Path) -> None:
    """What must fail is read off the server: a document is lost exactly if a fault that stays met a call of it.

    At most three faults in a row pass away by themselves, so six tries recover every other call.
    """
    rows = [
        {"id": f"doc-{i:04d}", "text": f"Write an 80-word article about tea, number <{i:04d}>.", "required_words": 80}
        for i in range(DOCUMENTS)
    ]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with loopback_server("--canned", "--fault-rate", "0.3", "--kinds", "all", "--record", "100000") as server:
        config = compose(
            "teacher=local_openai", f"teacher.base_url={server.url}", "teacher.limits.concurrency=64",
            "teacher.limits.initial_backoff_seconds=0.05", "teacher.limits.timeout_seconds=2.0", "instructions=file",
            f"generate.instructions.path={tmp_path / 'set.jsonl'}",
        )  # fmt: skip
        wanted = config.generate.instructions
        assert isinstance(wanted, InstructionFile)
        instructions = load_instructions(wanted, seed=0)
        run = cast(RunDirectory, SimpleNamespace(path=tmp_path))
        write_all(config, run, instructions, load_templates(config.generate))
        stats = server.stats()
    doomed = doomed_documents(stats["requests"])
    drafts = [json.loads(line) for line in (tmp_path / "drafts.jsonl").read_text().splitlines()]
    failures = [json.loads(line) for line in (tmp_path / "draft_failures.jsonl").read_text().splitlines()]
    assert len(drafts) + len(failures) == DOCUMENTS
    assert {failure["id"]: failure["reason"] for failure in failures} == doomed
    assert {draft["id"] for draft in drafts} == {row["id"] for row in rows} - set(doomed)
    for draft in drafts:
        assert all(text.startswith("Paragraph ") for text in draft["paragraphs"]), draft["paragraphs"]
    kinds = ("429", "429date", "500", "502", "503", "drop", "cut", "garbage", "empty", "slow", "length", *FINAL)
    assert all(stats["faults"].get(kind, 0) > 0 for kind in kinds), stats["faults"]
    assert 0.2 < sum(stats["faults"].values()) / stats["attempts"] < 0.4


def doomed_documents(requests: list[dict[str, Any]]) -> dict[str, str]:
    """Ids and reasons of the documents that cannot be written, from the server's own record.

    A call ends at its first fault that stays. A plan that is cut is asked for once more, with another message; cut
    again, it is no plan. A cut paragraph is kept, whatever meets the call that asks for it with more room.
    """
    ended: dict[str, str] = {}
    doomed = {}
    cut_plans: Counter[str] = Counter()
    for request in requests:
        fault, text = request["fault"], request["opening"]
        if request["key"] in ended or fault not in (*FINAL, "length"):
            continue
        ended[request["key"]] = fault
        document = f"doc-{text.split('number <')[1][:4]}"
        is_cut_plan = fault == "length" and "<step>" not in text
        cut_plans[document] += is_cut_plan
        if fault in FINAL or (is_cut_plan and cut_plans[document] == 2):
            doomed[document] = FINAL.get(fault, fault)
    return doomed


@pytest.mark.parametrize("budget", [0.5, 2.0])
def test_the_server_never_sees_more_than_the_budget(
    budget: float, hosted: Callable[..., LiteLLMTeacher], tmp_path: Path
) -> None:
    """The server counts every call that it worked on, answered or not, at the prices that the client was told."""
    price = Price(input_per_mtok=1000.0, output_per_mtok=1000.0)

    async def ask(endpoint: LiteLLMTeacher) -> list[Any]:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            async with Client(endpoint, ledger) as client:
                texts = [f"{i:03d} Write 30 words about tea." for i in range(200)]
                asked = [client.ask([{"role": "user", "content": text}], seed=7) for text in texts]
                return await asyncio.gather(*asked, return_exceptions=True)

    prices = ("--prices", "0.001", "0.001", "--latency", "0.02", "--fault-rate", "0.3")
    with loopback_server(*prices) as server:
        endpoint = hosted(price=price, concurrency=64, budget_usd=budget, timeout_seconds=1.0, max_attempts=6)
        answers = asyncio.run(ask(endpoint.model_copy(update={"base_url": server.url})))
        spent = server.now()["spent"]
    assert any(isinstance(answer, LwexpError) for answer in answers)
    assert 0 < spent <= budget


@pytest.mark.slow
def test_kills_change_nothing_and_pay_twice_only_for_calls_in_flight(tmp_path: Path) -> None:
    found = survive(
        tmp_path, documents=16, kills=3, latency=0.1, seed=1, started=lambda words, _: forked.Process(words)
    )
    assert found.kills >= 2
    assert found.differing_files == ()
    assert found.paid_twice_not_open == 0
    assert found.paid_twice <= found.open_at_kills


def test_a_call_in_flight_at_a_kill_counts_as_spent(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        asyncio.run(ledger.open_call("k", 0.75))
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.totals().lost_usd == 0.75


def test_tokens_a_minute_wait_and_give_back() -> None:
    """Room for 100 in 0.4 s: 60 go, 60 more wait for the window; a call that used 10 of its 60 lets the next one in."""

    async def run() -> list[float]:
        window, clock, waits = TokenWindow(100, seconds=0.4), asyncio.get_running_loop().time, []
        started = clock()
        await window.take(60)
        waits.append(clock() - started)
        second = await window.take(60)
        waits.append(clock() - started)
        window.correct(second, 10)
        await window.take(90)
        waits.append(clock() - started)
        return waits

    first, second, third = asyncio.run(run())
    assert first < 0.4 <= second
    assert third - second < 0.4


def test_the_first_call_of_each_slot_starts_20_ms_after_the_one_before_and_later_ones_at_once() -> None:
    async def run() -> tuple[list[float], StaggeredStart]:
        slots, clock = StaggeredStart(3), asyncio.get_running_loop().time

        async def start() -> float:
            await slots.wait()
            return clock()

        return list(await asyncio.gather(*(start() for _ in range(3)))), slots

    started, slots = asyncio.run(run())
    assert all(later - earlier > 0.015 for earlier, later in pairwise(started))
    with pytest.raises(StopIteration):  # a coroutine that ends at its first step has waited for nothing
        slots.wait().send(None)
    waiting = StaggeredStart(1).wait()
    waiting.send(None)  # the control: a first call does wait, if only for its turn
    waiting.close()


def test_a_window_never_holds_more_than_its_limit() -> None:
    async def run() -> list[tuple[float, int]]:
        window, taken = TokenWindow(100, seconds=0.2), list[tuple[float, int]]()

        async def call(tokens: int) -> None:
            share = await window.take(tokens)
            taken.append((share.at, share.tokens))

        await asyncio.gather(*(call(tokens) for tokens in (30, 50, 40, 500, 20, 20, 70)))
        return taken

    taken = asyncio.run(run())
    for at, _ in taken:
        assert sum(tokens for when, tokens in taken if at - 0.2 < when <= at) <= 100
    assert Counter(tokens for _, tokens in taken)[100] == 1  # the call of 500 went alone
