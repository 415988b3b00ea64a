"""Provider options: they reach the server, are part of the ledger's key; unknown ones are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.llm.answer import Answer
from lwexp.llm.client import Client
from lwexp.llm.endpoints.hosted import LiteLLMTeacher
from lwexp.llm.ledger import Ledger
from lwexp.records import LwexpError

QUESTION = [{"role": "user", "content": "Write a 40-word text about tea."}]


def ask(teacher: Any, folder: Path) -> Any:
    async def run() -> Any:
        with Ledger(folder / "ledger.sqlite") as ledger:
            async with Client(teacher, ledger) as client:
                return await client.ask(QUESTION, seed=1)

    return asyncio.run(run())


def test_options_arrive_and_another_value_asks_again(server: Any, hosted: Any, tmp_path: Path) -> None:
    plain = hosted()
    options = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}, "extra_headers": {"X-Team": "a"}}
    teacher = plain.model_copy(update={"options": options})
    assert not ask(teacher, tmp_path).from_ledger
    assert ask(teacher, tmp_path).from_ledger
    assert not ask(plain, tmp_path).from_ledger
    told, bare = server.stats()["requests"]
    assert told["chat_template_kwargs"] == {"enable_thinking": False}
    assert told["team"] == "a"
    assert "chat_template_kwargs" not in bare
    assert bare["team"] is None


def test_no_temperature_is_sent_where_it_is_null(server: Any, hosted: Any, tmp_path: Path) -> None:
    assert isinstance(ask(hosted().model_copy(update={"temperature": None}), tmp_path), Answer)
    assert "temperature" not in server.stats()["requests"][0]
    assert isinstance(ask(hosted(), tmp_path), Answer)  # negative control
    assert server.stats()["requests"][1]["temperature"] == 0.5


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"model": "openai/gpt-5"}, "set teacher.temperature=null"),
        ({"model": "openai/o3"}, "set teacher.temperature=null"),
        ({"model": "openai/o3", "temperature": None, "top_p": 0.9}, "set teacher.top_p=1.0"),
        ({"model": "openai/gpt-4o", "options": {"reasoning_effort": "low"}}, "remove teacher.options.reasoning_effort"),
    ],
)
def test_what_a_model_does_not_take_stops_the_run_with_the_override_to_set(
    changes: dict[str, Any], advice: str, server: Any, hosted: Any, tmp_path: Path
) -> None:
    teacher = hosted(budget_usd=None).model_copy(update=changes)
    with pytest.raises(LwexpError) as error:
        ask(teacher, tmp_path)
    said = str(error.value)
    assert said.startswith(f"teacher {changes['model']}: ")
    assert advice in said
    assert "\n" not in said
    assert "drop" not in said
    assert server.stats()["requests"] == []


def test_dropping_parameters_is_said(
    server: Any, hosted: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEA_KEY", "canary-0")
    teacher = hosted(key_env="TEA_KEY").model_copy(update={"model": "openai/o3", "options": {"drop_params": True}})
    assert isinstance(ask(teacher, tmp_path), Answer)
    assert "temperature" not in server.stats()["requests"][0]
    assert "teacher.options.drop_params: parameters that openai/o3 does not take are left out" in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{temperature: 1.0}", "teacher.options.temperature: set teacher.temperature instead"),
        ("{api_base: x}", "teacher.options.api_base: set teacher.base_url instead"),
        ("{stream: true}", "teacher.options.stream: is set by lwexp"),
        (
            "{extra_headers: {Authorization: abc}}",
            "teacher.options.extra_headers.Authorization: holds what",
        ),
        ("{extra_headers: {x-api-key: abc}}", "teacher.options.extra_headers.x-api-key: holds what"),
        ("{extra_headers: {x-team: sk-abcdefghijkl0123}}", "teacher.options: holds what looks like a key"),
    ],
)
def test_settings_and_keys_do_not_belong_into_options(options: str, said: str) -> None:
    from lwexp.config.secrets import refuse_arguments

    def typed(override: str) -> None:
        refuse_arguments([override])
        compose("teacher=gpt4o", override)

    with pytest.raises(LwexpError) as error:
        typed(f"+teacher.options={options}")
    assert str(error.value).startswith(said)
    assert "abc" not in str(error.value)


def test_options_are_part_of_the_id_and_none_are_not() -> None:
    from lwexp.runs.identity import run_id

    plain, empty, low = (
        compose("teacher=gpt4o", *more)
        for more in ((), ("+teacher.options={}",), ("+teacher.options={reasoning_effort: low}",))
    )
    assert run_id("data", plain, {}) == run_id("data", empty, {}) != run_id("data", low, {})
    assert isinstance(low.teacher, LiteLLMTeacher)
    assert low.teacher.options == {"reasoning_effort": "low"}
