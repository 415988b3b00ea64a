"""A server of the user's on this machine: its weights are compared, and answers of other weights are not used again."""

import json
import logging
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from lwexp.config import compose
from lwexp.config.base import ConfigError
from lwexp.config.evaluate import api_of
from lwexp.records import LwexpError, Prompt, Response
from lwexp.runs.artifacts import EngineSummary
from lwexp.sample.collect import collect
from tests import http_thread

PROMPTS = [
    Prompt(id=f"p{n}", text=f"Write about tea {n}", language="en", type="t", required_words=10) for n in range(3)
]


class Given:
    """As vLLM's: lists the folder it loaded, tokenizes messages with its template, and wants a key if it has one."""

    def __init__(self, folder: Path) -> None:
        given = self
        self.folder, self.asked, self.key = folder, 0, ""
        tokenizer = AutoTokenizer.from_pretrained(folder)

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                if given.key and self.headers["Authorization"] != f"Bearer {given.key}":
                    self.send_error(401)
                    return
                self.reply({"data": [{"id": "m", "max_model_len": 512, "root": str(given.folder)}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/tokenize":
                    text = tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
                    self.reply({"tokens": tokenizer.encode(text, add_special_tokens=False)})
                    return
                given.asked += 1
                message = {"role": "assistant", "content": f"Answer {given.asked}"}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                kind = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
                self.reply({**kind, "choices": [choice], "usage": usage})

            def reply(self, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        http_thread.start(self.http)


@pytest.fixture
def model(llama_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama_folder, tmp_path / "model"))


@pytest.fixture
def given(model: Path) -> Iterator[Given]:
    made = Given(model)
    yield made
    made.http.shutdown()
    made.http.server_close()


def run(given: Given, root: Path, name: str, expected: Path | None = None, *overrides: str) -> list[Response]:
    config = compose("engine=vllm", f"engine.base_url={given.url}", "engine.model=m", *overrides)
    api = api_of(config.engine)
    assert api is not None
    (root / name).mkdir(parents=True, exist_ok=True)
    sample = config.sample.model_copy(update={"max_new_tokens": 64})
    out = root / name / "responses.jsonl"
    return collect(
        PROMPTS, model=api, model_name=api.model, sample=sample, seed=0, out=out, root=root, expected=expected
    )


def change_weights(model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"other")


def test_a_server_of_the_expected_weights_says_so(
    given: Given, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "lwexp"):
        run(given, tmp_path / "runs", "a", model)
    assert f"hosted_vllm/m reads prompts as the same tokens as {model}, and has its weights" in caplog.text
    found = EngineSummary.read(tmp_path / "runs" / "a")
    assert found is not None
    assert (found.model, found.url) == ("hosted_vllm/m", given.url)
    assert found.weights


def test_a_server_of_other_weights_is_refused_before_it_is_asked(given: Given, model: Path, tmp_path: Path) -> None:
    given.folder = shutil.copytree(model, tmp_path / "other")
    change_weights(tmp_path / "other")
    with pytest.raises(LwexpError, match=f"m was loaded from {given.folder}, whose files differ from those of {model}"):
        run(given, tmp_path / "runs", "a", model)
    assert given.asked == 0


def test_other_weights_under_the_same_name_and_address_get_no_old_answers(
    given: Given, model: Path, tmp_path: Path
) -> None:
    """The control is the second run: the same weights, so its answers are copied."""
    root = tmp_path / "runs"
    run(given, root, "a")
    run(given, root, "same")
    assert given.asked == 3
    change_weights(model)
    assert {row.text for row in run(given, root, "changed")} == {"Answer 4", "Answer 5", "Answer 6"}


def test_a_run_does_not_continue_with_other_weights(given: Given, model: Path, tmp_path: Path) -> None:
    """A start at which the server does not tell its folder, in between, changes nothing."""
    root = tmp_path / "runs"
    run(given, root, "a")
    for folder in ("/nowhere", str(model)):
        (root / "a" / "responses.jsonl").unlink()
        given.folder = Path(folder)
        if folder == "/nowhere":
            run(given, root, "a")
    change_weights(model)
    with pytest.raises(LwexpError, match="has other weights than when this run began"):
        run(given, root, "a")


def test_the_checks_carry_the_key(
    given: Given, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given.key = "k-1"
    monkeypatch.setenv("MY_SERVER", given.key)
    run(given, tmp_path / "runs", "a", model, "engine.api_key_env=MY_SERVER")
    assert "not checked" not in caplog.text
    run(given, tmp_path / "runs", "b", model)
    assert "not checked: " in caplog.text
    assert "401" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["engine.model=m"], "engine.model is for a server of yours; add engine.base_url="),
        (["engine.base_url=http://h/v1"], "engine.base_url=http://h/v1 needs engine.model=<the name"),
        (
            ["engine.base_url=http://h/v1", "engine.model=m", "engine.dtype=float16"],
            "engine.dtype is for a server that lwexp starts; give it to yours when you start it",
        ),
    ],
)  # fmt: skip
def test_keys_of_the_other_kind_of_server_are_refused(overrides: list[str], said: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        compose("engine=vllm", *overrides)
    assert str(refused.value).startswith(said)
