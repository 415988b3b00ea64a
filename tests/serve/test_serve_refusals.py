"""What the server refuses, by name and in one line."""

from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Prompt
from lwexp.serve.server import main
from tests.serve.chat_requests import TEXTS, Served, asked, post


def test_another_model_is_refused(client: OpenAI) -> None:
    with pytest.raises(NotFoundError, match="model 'gpt-4o' is not served here; there is tiny"):
        client.chat.completions.create(**asked("a") | {"model": "gpt-4o"})


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "the body is not JSON"),
        ([], 400, "the body is list, wanted an object"),
        ({"model": "tiny"}, 400, "messages: "),
        (asked("a", n=2), 400, "n: got 2"),
        (asked("a", tools=[{"type": "function"}]), 400, "tools: got"),
        (asked("a", response_format={"type": "json_object"}), 400, "response_format.type: got 'json_object'"),
        (asked("a", min_p=0.1), 400, "min_p: this server does not know the field"),
        (asked("a", temperature=-1), 400, "temperature: got -1"),
        (asked("a", presence_penalty=0.5), 400, "presence_penalty: got 0.5"),
        (asked("a", max_tokens=1000), 400, "max_tokens=1,000 exceeds the 512 positions"),
        (asked("a") | {"messages": [{"role": "assistant", "content": "x"}]}, 400, "message 0 is from assistant"),
        (asked("a") | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0.content"),
        (b'{"x": "' + b"a" * 4_000_001 + b'"}', 413, "4000000"),
        (b"[" * 100_000, 400, "the body is not JSON"),
        (asked("a", repetition_penalty=1e-310), 400, "repetition_penalty: got 1e-310"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(served: Served, body: Any, status: int, said: str) -> None:
    got, reply = post(served, body)
    assert got == status
    assert said in reply["error"]["message"]
    assert post(served, asked("a", presence_penalty=0, n=1, tools=[], user="me"))[0] == 200  # the neutral values


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["port=1"], "wanted run=<run directory, name, id or newest> or model"),
        (["run=x", "model=y"], "wanted run=<run directory, name, id or newest> or model"),
        (["model=x", "prt=1"], "prt=1: no such option; there are run=, root=, model=, chat=, port=, slots="),
        (["model=x", "port="], "port needs a value, such as port=8000"),
        (["model=x", "port=http"], "port=http: wanted a whole number"),
        (["model=x", "port=99999"], "port=99999: "),
        (["model=x", "slots=0"], "slots=0: wanted 1 or more"),
        (["run=nosuch", "root=nowhere"], "run=nosuch: no run is called nosuch under nowhere"),
    ],
)
def test_serving_nothing_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: serve: {said}")
    assert error.count("\n") == 1


def test_a_server_of_the_users_is_compared_with_the_model_folder(
    served: Served, llama_folder: Path, glm_folder: Path
) -> None:
    """What task=pairs asks before it samples. The other folder is the negative control."""
    from lwexp.sample.servers.identity import ServerCannotTellError, check_prompts, served_model

    prompts = [Prompt(id=str(n), text=text, language="en", type="t", required_words=9) for n, text in enumerate(TEXTS)]
    sample = SampleConfig(temperature=0, max_new_tokens=40, repeats=1, batch_size=1, plan_first=False)
    there = served_model(served.url, "tiny")
    assert there.positions == 512
    check_prompts(there, prompts, sample, llama_folder, None)
    with pytest.raises(LwexpError, match="does not use the tokenizer and chat template of"):
        check_prompts(there, prompts, sample, glm_folder, None)
    with pytest.raises(LwexpError, match="exceeds the 512 positions"):
        check_prompts(there, prompts, sample.model_copy(update={"max_new_tokens": 512}), llama_folder, None)
    with pytest.raises(LwexpError, match="serves tiny, not other"):
        served_model(served.url, "other")
    with pytest.raises(ServerCannotTellError, match="404"):
        served_model(f"{served.url}/elsewhere", "tiny")
