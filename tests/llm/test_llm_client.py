"""The client against a real OpenAI-compatible HTTP server on loopback, through litellm's hosted_vllm."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lwexp.extend.endpoint import Price
from lwexp.llm.answer import Answer, NoAnswer
from lwexp.llm.client import Client
from lwexp.llm.endpoints.hosted import LiteLLMTeacher
from lwexp.llm.endpoints.offline import OfflineTeacher
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError

Hosted = Callable[..., LiteLLMTeacher]
Offline = Callable[..., OfflineTeacher]

QUESTION = "Write 30 words about tea."


def ask_all(
    endpoint: LiteLLMTeacher | OfflineTeacher, folder: Path, texts: Sequence[str], **options: Any
) -> list[Answer | NoAnswer]:
    """Ask all at once, in one client with the ledger of ``folder``."""

    async def run() -> list[Answer | NoAnswer]:
        with Ledger(folder / "ledger.sqlite", power_safe=False) as ledger:
            async with Client(endpoint, ledger) as client:
                asked = [client.ask([{"role": "user", "content": text}], seed=7, **options) for text in texts]
                answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    return asyncio.run(run())


def faulty(*faults: str) -> str:
    return f"{QUESTION} [[faults: {', '.join(faults)}]]"


def test_speaks_to_an_openai_compatible_server(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    [answer] = ask_all(hosted(), tmp_path, [QUESTION])
    assert isinstance(answer, Answer)
    assert answer.text.startswith("Part 1 of 1")
    assert (answer.finish_reason, answer.from_ledger) == ("stop", False)
    [request] = server.stats()["requests"]
    assert (request["model"], request["max_tokens"], request["temperature"], request["seed"]) == ("local", 200, 0.5, 7)


@pytest.mark.parametrize("fault", ["429:0.2", "429", "500", "503", "drop", "cut", "garbage", "empty", "slow:3"])
def test_recovers_from_a_fault_that_passes(fault: str, server: Any, hosted: Hosted, tmp_path: Path) -> None:
    [answer] = ask_all(hosted(timeout_seconds=1.0), tmp_path, [faulty(fault)])
    assert isinstance(answer, Answer)
    assert answer.text.startswith("Part 1")
    assert server.stats()["attempts"] == 2


def test_waits_as_long_as_retry_after_says(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    ask_all(hosted(), tmp_path, [QUESTION])  # imports litellm and opens the connection
    started = time.monotonic()
    ask_all(hosted(), tmp_path, [faulty("429:1.5")])
    assert time.monotonic() - started >= 1.5


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("400", "bad_request"),
        ("401", "authentication"),
        ("404", "not_found"),
        ("context", "context_length"),
        ("filter400", "content_filter"),
        ("filter", "content_filter"),
        ("quota", "quota"),
    ],
)
def test_never_repeats_a_fault_that_stays(fault: str, reason: str, server: Any, hosted: Hosted, tmp_path: Path) -> None:
    [answer] = ask_all(hosted(), tmp_path, [faulty(fault)])
    assert isinstance(answer, NoAnswer)
    assert (answer.reason, answer.attempts, answer.partial) == (reason, 1, None)
    assert server.stats()["attempts"] == 1


def test_gives_up_after_max_attempts(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    [answer] = ask_all(hosted(max_attempts=2), tmp_path, [faulty("500", "500", "500")])
    assert isinstance(answer, NoAnswer)
    assert (answer.reason, answer.attempts) == ("server_error", 2)


def test_a_length_stop_is_no_answer_but_keeps_the_text(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    [answer] = ask_all(hosted(), tmp_path, [faulty("length")])
    assert isinstance(answer, NoAnswer)
    assert answer.reason == "length"
    assert answer.partial is not None
    assert answer.partial.text.startswith("Part 1")
    assert server.stats()["attempts"] == 1


def test_a_second_run_replays_without_litellm(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    ask_all(hosted(), tmp_path, [QUESTION])
    script = """
import asyncio, json, sys
from pathlib import Path
from lwexp.llm.endpoints.hosted import LiteLLMTeacher
from lwexp.llm.client import Client
from lwexp.llm.ledger import Ledger

async def main(endpoint, folder, text, seed):
    with Ledger(Path(folder) / "ledger.sqlite") as ledger:
        async with Client(LiteLLMTeacher.model_validate_json(endpoint), ledger) as client:
            return await client.ask([{"role": "user", "content": text}], seed=int(seed))

answer = asyncio.run(main(*sys.argv[1:]))
print(json.dumps([answer.from_ledger, "litellm" in sys.modules]))
"""

    def replay(seed: str) -> Any:
        command = [sys.executable, "-c", script, hosted().model_dump_json(), str(tmp_path), QUESTION, seed]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    assert replay("7") == [True, False]
    assert server.stats()["attempts"] == 1
    # Negative control: another seed is another question, so it is sent, and litellm is there.
    assert replay("8") == [False, True]
    assert server.stats()["attempts"] == 2


def test_a_missing_key_is_one_line_and_nothing_is_sent(
    server: Any, hosted: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LWEXP_TEST_KEY", raising=False)
    with pytest.raises(LwexpError, match="export LWEXP_TEST_KEY=<your key>") as caught:
        ask_all(hosted(key_env="LWEXP_TEST_KEY"), tmp_path, [QUESTION])
    assert "\n" not in str(caught.value)
    assert server.stats()["attempts"] == 0


def test_the_key_is_sent_and_stands_in_no_file_and_no_message(
    server: Any, hosted: Hosted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = "sk-canary-0123456789"
    monkeypatch.setenv("LWEXP_TEST_KEY", canary)
    endpoint = hosted(key_env="LWEXP_TEST_KEY")
    answers = ask_all(endpoint, tmp_path, [QUESTION, faulty("401"), faulty("400")])
    assert server.stats()["requests"][0]["authorization"] == f"Bearer {canary}"
    assert canary not in repr(answers)
    assert not any(canary.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_one_fatal_fault_after_another_stops_the_run(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    texts = [f"{i} {faulty('401')}" for i in range(12)]
    with pytest.raises(LwexpError, match="5 calls in a row failed for good"):
        ask_all(hosted(concurrency=1), tmp_path, texts)
    assert server.stats()["attempts"] == 5


def test_a_success_between_fatal_faults_lets_the_run_go_on(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    texts = [text for i in range(4) for text in (f"{i} {faulty('401')}", f"{i} {faulty('401')}.", f"{i} {QUESTION}")]
    answers = ask_all(hosted(concurrency=1), tmp_path, texts)
    assert sum(isinstance(answer, Answer) for answer in answers) == 4


def test_requests_per_minute_are_paced(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    ask_all(hosted(), tmp_path, [QUESTION])
    started = time.monotonic()
    # 300 a minute is one each 0.2 s: the first at once, four more take 0.8 s.
    ask_all(hosted(requests_per_minute=300), tmp_path, [f"{i} {QUESTION}" for i in range(5)])
    assert time.monotonic() - started >= 0.75


def test_draining_does_not_wait_for_turns_or_pauses(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    async def run() -> list[Answer | NoAnswer]:
        with Ledger(tmp_path / "ledger.sqlite", power_safe=False) as ledger:
            async with Client(hosted(requests_per_minute=2), ledger) as client:
                texts = [faulty("429:100"), f"1 {QUESTION}", f"2 {QUESTION}"]
                asked = [client.ask([{"role": "user", "content": text}], seed=7) for text in texts]
                tasks = [asyncio.ensure_future(one) for one in asked]
                await asyncio.sleep(1.0)
                client.drain()
                return list(await asyncio.gather(*tasks))

    ask_all(hosted(), tmp_path, [QUESTION])
    started = time.monotonic()
    answers = asyncio.run(run())
    assert time.monotonic() - started < 5
    assert [answer.reason for answer in answers if isinstance(answer, NoAnswer)] == ["drained"] * 3


def test_spending_never_passes_the_budget(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    # A token costs $0.001. A call's worst case is its prompt's bytes + 16 + 200; its real cost about 40 tokens.
    endpoint = hosted(price=Price(input_per_mtok=1000.0, output_per_mtok=1000.0), concurrency=8, budget_usd=1.0)
    with pytest.raises(LwexpError, match=r"teacher\.limits\.budget_usd=1 is reached"):
        ask_all(endpoint, tmp_path, [f"{i:02d} {QUESTION}" for i in range(60)])
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        spent = ledger.totals().cost_usd
    assert 0.5 < spent <= 1.0
    # The next start counts what this one spent.
    before = server.stats()["attempts"]
    with pytest.raises(LwexpError, match="is reached"):
        ask_all(endpoint, tmp_path, [f"again {i:02d} {QUESTION}" for i in range(60)])
    assert server.stats()["attempts"] - before < 20


def test_a_budget_without_a_price_is_refused(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"add teacher\.price="):
        ask_all(hosted(budget_usd=1.0), tmp_path, [QUESTION])


def test_a_drained_client_sends_nothing_and_still_replays(offline: Offline, tmp_path: Path) -> None:
    async def run() -> list[Answer | NoAnswer]:
        with Ledger(tmp_path / "ledger.sqlite", power_safe=False) as ledger:
            async with Client(offline(), ledger) as client:
                await client.ask([{"role": "user", "content": QUESTION}], seed=1)
                client.drain()
                return [await client.ask([{"role": "user", "content": QUESTION}], seed=seed) for seed in (1, 2)]

    stored, unsent = asyncio.run(run())
    assert isinstance(stored, Answer)
    assert stored.from_ledger
    assert isinstance(unsent, NoAnswer)
    assert unsent.reason == "drained"


def test_a_response_schema_reaches_the_provider(server: Any, hosted: Hosted, tmp_path: Path) -> None:
    class Scores(BaseModel):
        clarity: int

    ask_all(hosted(), tmp_path, [QUESTION], response_schema=Scores)
    sent = server.stats()["requests"][0]["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"], list(sent["schema"]["properties"])) == ("Scores", True, ["clarity"])


def test_the_offline_teacher_takes_the_same_path(offline: Offline, tmp_path: Path) -> None:
    [first] = ask_all(offline(length_noise=0.0), tmp_path, ["Write a 100-word article about the history of tea."])
    [again] = ask_all(offline(length_noise=0.0), tmp_path, ["Write a 100-word article about the history of tea."])
    assert isinstance(first, Answer)
    assert isinstance(again, Answer)
    assert first.text == again.text
    assert (first.from_ledger, again.from_ledger) == (False, True)
    assert first.text.startswith("Part 1 of 4")


def test_every_option_of_the_offline_teacher_shapes_the_key(offline: Offline, tmp_path: Path) -> None:
    text = "Write a 100-word article about the history of tea."
    ask_all(offline(), tmp_path, [text])
    [same] = ask_all(offline(concurrency=1, timeout_seconds=3.0), tmp_path, [text])
    [other] = ask_all(offline(length_noise=0.1), tmp_path, [text])
    assert isinstance(same, Answer)
    assert isinstance(other, Answer)
    assert (same.from_ledger, other.from_ledger) == (True, False)
