"""Reasoning in any form is never part of an answer: it is recognised, counted and stored separately."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lwexp.llm.answer import Answer, NoAnswer
from lwexp.llm.client import Client
from lwexp.llm.exchange import make_request
from lwexp.llm.ledger import Entry, Ledger, request_key
from lwexp.llm.pool import ask_and_read
from lwexp.records import LwexpError
from tests.llm.providers.behaviours import REASONING, THOUGHTS
from tests.llm.providers.runs import ask, endpoint, generate, rows_of, select_from
from tests.llm.providers.server import Provider

NOVELS = [f"Write a long novel about {thing} and a hundred years." for thing in ("a mill", "the last orchard")]
TWO = "select.counts={en: 2, zh: 0}"
MARKS = ("Okay, the user", "think>", "<|")


@pytest.mark.parametrize("behaviour", REASONING)
def test_no_file_of_a_run_holds_what_the_teacher_thought(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    """Before, 144 words were counted instead of 99, and </think> was in the training data."""
    plain = generate(tmp_path, provider, "healthy")
    run = generate(tmp_path, provider, behaviour)
    for name in ("drafts.jsonl", "conversations.jsonl", "trace.jsonl"):
        text = (run.path / name).read_text()
        assert not any(mark in text for mark in MARKS)
    texts = [[(draft["plan"]["text"], draft["paragraphs"]) for draft in rows_of(at, "drafts.jsonl")]
             for at in (plain, run)]  # fmt: skip
    assert texts[0] == texts[1]
    assert run.manifest.results["cleaned"] == {"reasoning": 14}
    assert plain.manifest.results["cleaned"] == {}
    # Neither does a later prompt, which holds the text so far.
    assert not any("Okay, the user" in call.prompt for call in provider.calls)


@pytest.mark.parametrize("behaviour", REASONING)
def test_the_ledger_keeps_it_beside_the_answer(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    model = endpoint(provider, behaviour)
    first, again = (ask(model, tmp_path, ["Write about tea."])[0] for _ in range(2))
    [plain] = ask(endpoint(provider, "healthy"), tmp_path, ["Write about tea."])
    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert isinstance(plain, Answer)
    assert again.from_ledger
    assert first.text == again.text == plain.text
    assert first.reasoning == again.reasoning == THOUGHTS


@pytest.mark.parametrize("behaviour", REASONING)
def test_selections_and_verdicts_are_read_behind_it(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    run = select_from(tmp_path, provider, behaviour, TWO, texts=NOVELS)
    assert run.manifest.results["instructions"] == 2


@pytest.mark.parametrize("behaviour", ["thinks_longer", "thinks_longer_in_tags"])
def test_an_answer_cut_in_its_reasoning_gets_one_retry_with_more_room(
    behaviour: str, provider: Provider, tmp_path: Path
) -> None:
    """A plan, a paragraph or a verdict without text at 8,192 tokens causes one more call; both are paid."""
    price = "teacher.price={input_per_mtok: 0, output_per_mtok: 100}"
    run = generate(tmp_path, provider, behaviour, price)
    assert run.manifest.results["tally"] == "7 in = 7 kept"
    assert sorted({call.request["max_tokens"] for call in provider.calls}) == [8192, 2 * 8192]
    assert len(provider.calls) == 2 * 7 * 3
    # 60 tokens a call at $100 a million are $0.006; a document takes three answers of two calls.
    assert {round(draft["cost_usd"], 6) for draft in rows_of(run, "drafts.jsonl")} == {0.036}
    assert select_from(tmp_path, provider, behaviour, TWO, texts=NOVELS).manifest.results["instructions"] == 2


@pytest.mark.parametrize("behaviour", ["thinks_for_ever", "never_closes_its_thoughts"])
def test_reasoning_that_never_ends_is_a_typed_failure(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"7 in = 0 kept . 7 unfinished reasoning"):
        generate(tmp_path, provider, behaviour)
    assert len(provider.calls) == 2 * 7
    with pytest.raises(LwexpError, match=r"2 in = 0 kept . 2 unfinished reasoning"):
        select_from(tmp_path, provider, behaviour, texts=NOVELS)
    # The ledger has the answer, so another start pays for nothing.
    asked = len(provider.calls)
    with pytest.raises(LwexpError):
        generate(tmp_path, provider, behaviour)
    assert len(provider.calls) == asked


def test_an_answer_that_is_all_reasoning_says_where_the_text_went(provider: Provider, tmp_path: Path) -> None:
    [answer] = ask(endpoint(provider, "only_thoughts"), tmp_path, ["Write about tea."])
    assert isinstance(answer, NoAnswer)
    assert answer.reason == "empty"
    assert "characters of reasoning; check the server's reasoning parser" in answer.detail


def test_a_selection_asks_with_the_configs_tokens(provider: Provider, tmp_path: Path) -> None:
    """Before, it asked with 512 whatever the config said."""
    select_from(tmp_path, provider, "healthy", TWO, "teacher.max_tokens=3000", texts=NOVELS)
    assert {call.request["max_tokens"] for call in provider.calls} == {3000}


def test_reasoning_in_an_older_ledger_is_told_apart_when_it_is_replayed(provider: Provider, tmp_path: Path) -> None:
    """A ledger without the column, whose answer holds its reasoning."""
    model = endpoint(provider, "healthy")
    request = make_request(model, [{"role": "user", "content": "Write about tea."}], 7, None, None)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as old, old:
        columns = "key TEXT PRIMARY KEY, model TEXT, text TEXT, finish_reason TEXT, prompt_tokens INT, "
        old.execute(
            f"CREATE TABLE answers ({columns} completion_tokens INT, cost_usd REAL, attempts INT, created TEXT)"
        )
        values = (request_key(request), "m", f"{THOUGHTS}\n</think>\nTea.", "stop", 1, 2, 0.5, 1, "then")
        old.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    [answer] = ask(model, tmp_path, ["Write about tea."])
    assert isinstance(answer, Answer)
    assert (answer.text, answer.reasoning, answer.from_ledger) == ("Tea.", THOUGHTS, True)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        asyncio.run(ledger.settle("k", Entry("t", "stop", 1, 1, 0.0, 1, "why"), model="m", call=None))
        assert ledger.totals().answers == 2


def test_a_reader_of_verdicts_sees_the_marks(provider: Provider, tmp_path: Path) -> None:
    """A judged text may end in </think> and a verdict; only the reader knows what it quotes."""
    seen: list[str] = []

    async def run() -> None:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            async with Client(endpoint(provider, "think_closing_tag"), ledger) as client:
                await ask_and_read(client, "Write about tea.", lambda text: seen.append(text), str, seed=1)

    asyncio.run(run())
    assert seen[0].startswith(f"{THOUGHTS}\n</think>")
