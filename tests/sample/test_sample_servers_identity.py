"""Odd servers: each leads to one line, and never to a refusal of what may be right."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lwexp.config import compose
from lwexp.records import LwexpError, Prompt
from lwexp.sample.servers.identity import (
    OtherModelError,
    ServedModel,
    ServerCannotTellError,
    check_prompts,
    served_model,
)
from tests import http_thread

PROMPTS = [Prompt(id="p1", text="Write about tea", language="en", type="t", required_words=9)]


class Odd:
    def __init__(self) -> None:
        odd = self
        self.reply: Any = {}

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                data = odd.reply if isinstance(odd.reply, bytes) else json.dumps(odd.reply).encode()
                if not isinstance(odd.reply, bytes):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET  # noqa: N815

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        http_thread.start(self.http)


@pytest.fixture
def odd() -> Iterator[Odd]:
    made = Odd()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.mark.parametrize("reply", [{}, [], {"data": ["m"]}, {"data": [{"name": "m"}]}, {"data": 3}])
def test_a_list_of_models_in_another_form_is_no_answer(odd: Odd, reply: Any) -> None:
    odd.reply = reply
    with pytest.raises(ServerCannotTellError):
        served_model(odd.url, "m")


def test_another_name_in_the_list_is_told_apart(odd: Odd) -> None:
    odd.reply = {"data": [{"id": "gguf"}]}
    with pytest.raises(OtherModelError, match="serves gguf, not m"):
        served_model(odd.url, "m")
    assert served_model(odd.url, "gguf") == ServedModel(odd.url, "gguf", None)


def test_what_is_not_http_is_one_line(odd: Odd) -> None:
    odd.reply = b"hello\r\n"
    with pytest.raises(LwexpError, match="the server does not answer"):
        served_model(odd.url, "m")


def test_a_server_without_tokens_for_messages_cannot_tell(odd: Odd, llama_folder: Path) -> None:
    """llama.cpp's /tokenize reads ``content`` only."""
    odd.reply = {"tokens": []}
    with pytest.raises(ServerCannotTellError, match="no tokens for messages"):
        check_prompts(ServedModel(odd.url, "m", None), PROMPTS, compose().sample, llama_folder, None)
