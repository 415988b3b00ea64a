"""The server: OpenAI's chat API in a thread, answering as the named behaviour does.

The model ``b-<behaviour>@<kind>`` behaves so for one kind of question only; a provider's own name is a behaviour, too.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests import http_thread
from tests.llm.providers.behaviours import BEHAVIOURS
from tests.llm.providers.wire import Call, Response

SCORES = dict.fromkeys(
    ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience"), 4
)  # fmt: skip


class Provider:
    """A running server, and what it was asked.

    Attributes:
        url: For ``base_url``.
        calls: Every request with its kind, in order of arrival.
        state: What a test changes between two starts, such as ``{"is_broke": True}``.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.calls: list[Call] = []
        self.state: dict[str, Any] = {}

    def reset(self) -> None:
        """As if just started."""
        self.calls.clear()
        self.state.clear()

    def kinds(self) -> Counter[str]:
        """Requests by kind."""
        return Counter(call.kind for call in self.calls)


def kind_of(prompt: str) -> str:
    """What a prompt of lwexp asks for: plan, paragraph, select, judge; other for anything else."""
    marks = {
        "needs_long_output": "select",
        "<step>": "paragraph",
        "planning a long text": "plan",
        "reading_experience": "judge",
    }
    return next((kind for mark, kind in marks.items() if mark in prompt), "other")


def good_answer(kind: str, prompt: str) -> str:
    """What a healthy model says: a plan of two paragraphs, a paragraph of 30 words, a yes, a verdict."""
    if kind == "plan":
        return "\n".join(f"Paragraph {i} - Main Point: morning {i} - Word Count: 30 words" for i in (1, 2))
    if kind == "select":
        return '{"needs_long_output": true}'
    if kind == "judge":
        return json.dumps(SCORES)
    step = len(re.findall("Harbour number", prompt)) + 1
    return f"Harbour number {step} begins with a bell at dawn. " + " ".join(
        f"Baker {name} opens a shutter in lane {step}." for name in ("Anna", "Bert", "Carla")
    )


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """A server on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model = request["model"]
            prompt = request["messages"][0]["content"]
            kind = kind_of(prompt)
            with lock:
                number = 1 + sum(call.request["model"] == model for call in running.calls)
                call = Call(request, kind, good_answer(kind, prompt), number, prompt, running.state)
                running.calls.append(call)
            name, _, door = (model.partition("b-")[2] or model).partition("@")
            self.reply(BEHAVIOURS[name if door in ("", kind) else "healthy"](call))

        def reply(self, response: Response) -> None:
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(response.body)

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Provider(server.server_address[1])
    http_thread.start(server)
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
