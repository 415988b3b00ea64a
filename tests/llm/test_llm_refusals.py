"""Errors in every provider's words lead to the right reaction, in generation and in selection."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lwexp.llm.answer import Answer, NoAnswer
from lwexp.llm.errors import OutOfMoney
from lwexp.records import LwexpError
from lwexp.runs import RunDirectory
from tests.llm.providers.runs import STORIES, ask, endpoint, generate, rows_of, select_from
from tests.llm.providers.said import FILTERS, MONEY, TOO_LONG, UNKNOWN_MODELS
from tests.llm.providers.server import Provider

NOVELS = [f"Write a long novel about {thing} and a hundred years." for thing in ("a mill", "the last orchard", "ice")]
TWO = "select.counts={en: 2, zh: 0}"
ONE_BY_ONE = "teacher.limits.concurrency=1"


class Scores(BaseModel):
    clarity: int


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        *((f"money_{name}", "quota") for name in MONEY),
        *((f"filter_{name}", "content_filter") for name in FILTERS),
        *((f"long_{name}", "context_length") for name in TOO_LONG),
        *((f"unknown_model_{name}", "not_found") for name in UNKNOWN_MODELS),
        ("odd_always", "bad_request"),
    ],
)
def test_every_providers_words_are_known_and_never_sent_again(
    behaviour: str, reason: str, provider: Provider, tmp_path: Path
) -> None:
    [answer] = ask(endpoint(provider, behaviour), tmp_path, ["Write about tea."])
    assert isinstance(answer, NoAnswer)
    assert (answer.reason, answer.attempts, len(provider.calls)) == (reason, 1, 1)


def test_documents_whose_balance_was_gone_are_asked_for_again(provider: Provider, tmp_path: Path) -> None:
    """Before, these documents were lost for good, and the run counted as finished."""
    provider.state["is_broke"] = True
    run = generate(tmp_path, provider, "broke_for_the_last_two", ONE_BY_ONE)
    assert (run.manifest.status, run.manifest.reason) == ("incomplete", "2 missing: 2 quota")
    provider.state["is_broke"] = False
    asked = len(provider.calls)
    run = generate(tmp_path, provider, "broke_for_the_last_two", ONE_BY_ONE)
    assert (run.manifest.status, run.manifest.results["tally"]) == ("finished", "7 in = 7 kept")
    assert len(provider.calls) - asked == 2 * 3


def test_an_empty_account_stops_the_run_which_can_be_used_and_goes_on(provider: Provider, tmp_path: Path) -> None:
    """Eight calls are two documents and two calls of a third; five refusals stop the run."""
    with pytest.raises(OutOfMoney, match=r"the account has no credit .* top it up") as stop:
        generate(tmp_path, provider, "broke_after_eight", ONE_BY_ONE, texts=STORIES * 4)
    assert "\n" not in str(stop.value)
    assert len(provider.calls) == 8 + 5
    [path] = (tmp_path / "runs").iterdir()
    run = RunDirectory.load(path)
    assert run.manifest.status == "incomplete"
    assert run.manifest.results is not None
    assert run.manifest.results["conversations"] == 2
    provider.state["topped_up"] = True
    assert generate(tmp_path, provider, "broke_after_eight", ONE_BY_ONE, texts=STORIES * 4).is_finished
    assert len(provider.calls) == 8 + 5 + (28 * 3 - 8)


@pytest.mark.parametrize("behaviour", ["money_zhipu", "money_alibaba"])
def test_a_selection_without_credit_stops_too(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    texts = [f"{NOVELS[0]} {'very ' * i} old" for i in range(9)]
    with pytest.raises(OutOfMoney, match="no credit"):
        select_from(tmp_path, provider, behaviour, ONE_BY_ONE, "select.near_duplicate_threshold=null", texts=texts)
    assert len(provider.calls) == 5


@pytest.mark.parametrize(
    ("behaviour", "reason", "probes"),
    [("filter_first_five", "content filter", 0), ("long_first_five", "context length", 0),
     ("odd_first_five", "bad request", 1)],
)  # fmt: skip
def test_documents_that_are_turned_away_never_stop_the_others(
    behaviour: str, reason: str, probes: int, provider: Provider, tmp_path: Path
) -> None:
    """Before, five in a row stopped every start. An unknown refusal costs one neutral question."""
    run = generate(tmp_path, provider, behaviour, ONE_BY_ONE)
    assert run.manifest.results["tally"] == f"7 in = 2 kept + 5 {reason}"
    assert run.is_finished
    assert provider.kinds()["other"] == probes


@pytest.mark.parametrize("behaviour", ["filter_zhipu", "long_sglang"])
def test_rows_that_are_turned_away_never_stop_a_selection(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    texts = [f"{NOVELS[0]} {'very ' * i} old" for i in range(9)]
    with pytest.raises(LwexpError, match="nothing was kept"):
        select_from(tmp_path, provider, behaviour, "select.near_duplicate_threshold=null", texts=texts)
    assert len(provider.calls) == 9


def test_what_every_question_meets_stops_the_run_after_a_neutral_one(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"5 calls in a row failed for good, and a neutral question as well .*E-4711"):
        generate(tmp_path, provider, "odd_always", ONE_BY_ONE, texts=STORIES * 2)
    assert provider.kinds() == {"plan": 5, "other": 1}


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("no_schema", "the server takes no JSON schema"),
        ("no_seed", "the server takes no seed"),
        ("gpt5_behind_a_gateway", "set teacher.temperature=null to choose that"),
        ("at_most_100_tokens", "set teacher.max_tokens=100 or less"),
        ("thinks_only_in_streams", "teacher.options='{extra_body: {enable_thinking: false}}'"),
    ],
)
def test_an_option_that_a_server_refuses_is_left_out_and_said_once(
    behaviour: str, said: str, provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Four questions; the server refuses each option once, and there is one warning."""
    texts = [f"Write about tea {i}." for i in range(4)]
    answers = ask(endpoint(provider, behaviour), tmp_path, texts, schema=Scores)
    assert all(isinstance(answer, Answer) for answer in answers)
    assert [answer.attempts for answer in answers] == [1] * 4
    refused = {"gpt5_behind_a_gateway": 2}.get(behaviour, 1)
    assert len(provider.calls) == 4 + refused
    assert caplog.text.count(said) == 1
    # The next start finds the answers under the same keys.
    again = ask(endpoint(provider, behaviour), tmp_path, texts, schema=Scores)
    assert all(isinstance(answer, Answer) and answer.from_ledger for answer in again)


@pytest.mark.parametrize("behaviour", ["no_schema", "no_seed", "gpt5_behind_a_gateway"])
def test_a_selection_and_a_generation_go_on_without_it(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    run = select_from(tmp_path, provider, behaviour, TWO, texts=NOVELS)
    assert run.manifest.results["instructions"] == 2
    assert generate(tmp_path, provider, behaviour).manifest.results["tally"] == "7 in = 7 kept"


def test_a_schema_can_be_switched_off(provider: Provider, tmp_path: Path) -> None:
    select_from(tmp_path, provider, "no_schema", TWO, "teacher.json_schema=false", texts=NOVELS)
    assert not any("response_format" in call.request for call in provider.calls)


def test_the_users_own_option_is_never_dropped(provider: Provider, tmp_path: Path) -> None:
    options = "teacher.options={extra_body: {reasoning_effort: low}}"
    with pytest.raises(LwexpError, match="Unknown parameter: 'reasoning_effort'"):
        generate(tmp_path, provider, "no_reasoning_effort", ONE_BY_ONE, options)


def test_more_room_than_a_model_has_is_this_calls_own_fault(provider: Provider, tmp_path: Path) -> None:
    model = endpoint(provider, "at_most_100_tokens", "teacher.max_tokens=100")
    [answer] = ask(model.model_copy(update={"max_tokens": 100}), tmp_path, ["Write about tea."])
    assert isinstance(answer, Answer)
    assert len(provider.calls) == 1


def test_nobody_listens_is_said_after_a_few_tries(tmp_path: Path, provider: Provider) -> None:
    """Seven documents with 50 tries each would take a quarter of an hour."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    started = time.monotonic()
    more = (f"teacher.base_url={address}", "teacher.limits.max_attempts=50")
    with pytest.raises(LwexpError) as stop:
        generate(tmp_path, provider, "healthy", *more)
    assert str(stop.value) == (
        f"teacher hosted_vllm/b-healthy: no server answers at {address}; start it or set teacher.base_url, "
        "then run the same command again"
    )
    assert time.monotonic() - started < 30


def test_a_server_that_is_down_stops_the_run_after_ten_calls(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(LwexpError, match=r"10 calls in a row got no answer, each after all its tries \(server_error"):
        generate(tmp_path, provider, "busy", ONE_BY_ONE, texts=STORIES * 3)
    assert len(provider.calls) == 10 * 2


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource", "network_error", "xyz"])
def test_half_a_text_is_never_a_text(word: str, provider: Provider, tmp_path: Path) -> None:
    """Before, half a text was kept, stored and marked "stop"."""
    [answer] = ask(endpoint(provider, f"finish_{word}"), tmp_path, ["Write about tea."])
    assert isinstance(answer, NoAnswer)
    assert (answer.reason, answer.attempts, answer.partial) == ("server_error", 2, None)
    assert f"'{word}'" in answer.detail


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource"])
def test_half_a_text_through_litellms_proxy_is_never_a_text(word: str, provider: Provider, tmp_path: Path) -> None:
    """The proxy says "stop" and keeps the provider's own word in a field that litellm's client drops."""
    [answer] = ask(endpoint(provider, f"proxied_{word}"), tmp_path, ["Write about tea."])
    assert isinstance(answer, NoAnswer)
    assert (answer.reason, answer.attempts, answer.partial) == ("server_error", 2, None)
    assert f"'{word}'" in answer.detail


@pytest.mark.parametrize("behaviour", ["finish_eos", "finish_end_turn", "finish_stop", "finish_none", "proxied"])
def test_natural_ends_are_natural(behaviour: str, provider: Provider, tmp_path: Path) -> None:
    [answer] = ask(endpoint(provider, behaviour), tmp_path, ["Write about tea."])
    assert isinstance(answer, Answer)
    assert answer.finish_reason == "stop"


def test_an_answer_that_broke_off_is_asked_for_again(provider: Provider, tmp_path: Path) -> None:
    run = generate(tmp_path, provider, "finish_error_first")
    drafts: list[dict[str, Any]] = rows_of(run, "drafts.jsonl")
    assert run.manifest.results["tally"] == "7 in = 7 kept"
    assert all(len(text.split()) > 20 for draft in drafts for text in draft["paragraphs"])
