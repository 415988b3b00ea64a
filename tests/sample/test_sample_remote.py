"""Answers over HTTP land on their own prompts in whatever order they come; our own model served answers as here."""

import json
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.config.evaluate import ApiEngine, SampleConfig, api_of
from lwexp.records import Failure, LwexpError, Prompt, Response, read_rows
from lwexp.sample.collect import collect
from tests import forked, http_thread

PROMPTS = [Prompt(id=f"p{n}", text=f"Prompt {n}.", language="en", type="t", required_words=10) for n in range(120)]


class Echo:
    """A server that answers "Answer to <prompt>" after a random pause, or as ``say`` does."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.finished: list[str] = []
        self.say: Any = lambda text: (200, f"Answer to {text}", "stop")
        echo = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                echo.seen.append(request)
                text = request["messages"][-1]["content"]
                time.sleep(random.uniform(0, 0.05))
                status, answer, reason = echo.say(text)
                echo.finished.append(text)
                choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": answer}}
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                body: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
                body |= {"choices": [choice], "usage": usage}
                if status != 200:
                    body = {"error": {"message": answer, "type": "x", "code": reason}}
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        http_thread.start(self.server)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.server.shutdown()
    made.server.server_close()


def engine(url: str, **changes: Any) -> ApiEngine:
    made = api_of(
        compose("engine=vllm", f"engine.base_url={url}", "engine.model=model", "engine.limits.concurrency=16").engine
    )
    assert made is not None
    limits = made.limits.model_copy(update={"max_attempts": 1, "timeout_seconds": 60.0})
    return made.model_copy(update={"limits": limits} | changes)


def sampling(**changes: Any) -> SampleConfig:
    return compose().sample.model_copy(update={"max_new_tokens": 64} | changes)


def run(url: str, out: Path, **options: Any) -> list[Response]:
    given: dict[str, Any] = {"prompts": PROMPTS, "sample": sampling(), "model": engine(url)} | options
    return collect(given["prompts"], model=given["model"], model_name="m", sample=given["sample"], seed=0, out=out)


def mispaired(responses: list[Response]) -> int:
    return sum(row.text != f"Answer to {row.prompt}" for row in responses)


def test_answers_in_any_order_land_on_their_own_prompts(echo: Echo, tmp_path: Path) -> None:
    responses = run(echo.url, tmp_path / "r.jsonl")
    order = [prompt.text for prompt in PROMPTS]
    assert sorted(echo.finished) == sorted(order)
    assert echo.finished != order
    assert mispaired(responses) == 0
    assert [row.prompt_id for row in responses] == [prompt.id for prompt in PROMPTS]
    assert list(read_rows(tmp_path / "r.jsonl", Response)) == responses
    # Negative control: zipping answers in order of arrival with prompts in order of the file, as others do.
    zipped = [
        row.model_copy(update={"text": f"Answer to {text}"}) for row, text in zip(responses, echo.finished, strict=True)
    ]
    assert mispaired(zipped) > 60


def test_every_sampling_parameter_is_sent_and_stored(echo: Echo, tmp_path: Path) -> None:
    """Off is sent too: vLLM fills what is left open from the model's generation_config.json."""
    responses = run(echo.url, tmp_path / "r.jsonl", prompts=PROMPTS[:1])
    sent = echo.seen[0]
    stored = responses[0].sampling
    assert stored is not None
    assert (sent["temperature"], sent["max_tokens"], sent["top_k"], sent["repetition_penalty"]) == (0.5, 64, -1, 1.0)
    assert sent["seed"] == stored.seed
    assert stored.model_dump() == sampling().model_dump(include={
        "temperature", "top_p", "top_k", "repetition_penalty", "max_new_tokens",
    }) | {"seed": stored.seed}  # fmt: skip
    plain = engine(echo.url, supports_top_k=False)
    run(echo.url, tmp_path / "s.jsonl", prompts=PROMPTS[:1], model=plain)
    assert "top_k" not in echo.seen[1]
    with pytest.raises(LwexpError, match=r"sample\.top_k=20 is not sent"):
        compose("engine=litellm", "sample.top_k=20")


def test_cut_and_empty_answers_are_answers_and_failures_are_not(echo: Echo, tmp_path: Path) -> None:
    kinds = {"Prompt 0.": (200, "half", "length"), "Prompt 1.": (200, "", "stop"), "Prompt 2.": (400, "no", "bad")}
    echo.say = lambda text: kinds.get(text, (200, f"Answer to {text}", "stop"))
    responses = run(echo.url, tmp_path / "r.jsonl", prompts=PROMPTS[:4])
    assert [(row.text, row.finish_reason) for row in responses] == [
        ("half", "length"), ("", "stop"), ("", "error"), ("Answer to Prompt 3.", "stop"),
    ]  # fmt: skip
    (failure,) = read_rows(tmp_path / "answer_failures.jsonl", Failure)
    assert (failure.id, failure.stage, failure.reason) == ("p2#0", "sample", "bad_request")
    # A second start asks for what never came, and for nothing else.
    echo.say, asked = (lambda text: (200, f"Answer to {text}", "stop")), len(echo.seen)
    again = run(echo.url, tmp_path / "r.jsonl", prompts=PROMPTS[:4])
    assert len(echo.seen) == asked + 1
    assert (again[2].text, again[0].text) == ("Answer to Prompt 2.", "half")
    assert not (tmp_path / "answer_failures.jsonl").exists()


def test_our_own_model_served_answers_as_it_does_here(llama_folder: Path, tmp_path: Path) -> None:
    """Greedy, through litellm and HTTP, from a process of its own."""
    words = ["Write about tea", "Hello rivers", "Old maps there", "请写一篇关于茶的文章。", "Hello there, old maps."]
    prompts = [
        Prompt(id=f"q{n}", text=text, language="en", type="t", required_words=9 + n) for n, text in enumerate(words)
    ]
    greedy = sampling(temperature=0, max_new_tokens=40, batch_size=4)
    here = collect(prompts, model=llama_folder, model_name="m", sample=greedy, seed=0, out=tmp_path / "here.jsonl")
    (tmp_path / "model").symlink_to(llama_folder)  # the folder's name is the model's
    command = [sys.executable, "-m", "lwexp", "serve", f"model={tmp_path / 'model'}"]
    server = forked.Process(command)
    try:
        (url,) = re.findall(r"^http\S+$", server.wait_for("/v1\n"), re.MULTILINE)
        there = run(url, tmp_path / "there.jsonl", prompts=prompts, sample=greedy)
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert [(row.text, row.finish_reason) for row in there] == [(row.text, row.finish_reason) for row in here]
    assert len({row.text for row in here}) == len(prompts)
    assert all(row.text for row in here)


def test_reasoning_in_an_answer_is_kept_beside_it(echo: Echo, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever litellm leaves in the text; an answer that never begins is a failure with what to raise."""
    caplog.set_level("INFO")
    kinds = {
        "Prompt 0.": "one two three\n</think>\n\na b",
        "Prompt 1.": "<|channel|>analysis<|message|>one two three<|end|><|channel|>final<|message|>a b",
        "Prompt 2.": "[THINK]one two three[/THINK]a b",
        "Prompt 3.": "[THINK]one two three",
        "Prompt 4.": "a b",
    }
    echo.say = lambda text: (200, kinds[text], "stop")
    responses = run(echo.url, tmp_path / "r.jsonl", prompts=PROMPTS[:5])
    thought = ("a b", 2, "one two three", "stop")
    given = [(row.text, row.words, row.reasoning, row.finish_reason) for row in responses]
    assert given == [thought, thought, thought, ("", 0, "", "error"), ("a b", 2, "", "stop")]
    (failure,) = read_rows(tmp_path / "answer_failures.jsonl", Failure)
    assert (failure.id, failure.reason) == ("p3#0", "unfinished_reasoning")
    assert failure.detail == "3 words of reasoning and no answer; raise sample.max_new_tokens"
    assert "5 in = 4 kept + 1 unfinished reasoning" in caplog.text
    assert "3 answers with reasoning" in caplog.text
    # The same command finds what it wrote, reasoning included, and asks only for what never came.
    asked = len(echo.seen)
    again = run(echo.url, tmp_path / "r.jsonl", prompts=PROMPTS[:5])
    assert again == responses
    assert len(echo.seen) == asked  # the paid answer is in the ledger
