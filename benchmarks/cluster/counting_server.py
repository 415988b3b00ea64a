"""An OpenAI-compatible server that counts how often each prompt reaches it, for the nodes of the cluster."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lwexp.llm.offline.teacher import teacher_reply

_HEAD = "10.99.0.254"
"""This machine's address on the network of the nodes (machine.sh)."""


class CountingServer(ThreadingHTTPServer):
    """``seen`` counts the requests with the same messages and seed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((_HEAD, 0), _Handler)
        self.seen: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Address for ``teacher.base_url``."""
        return f"http://{_HEAD}:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: CountingServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen[json.dumps([request["messages"], request.get("seed")])] += 1
        body = json.dumps(_completion(request)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def _completion(request: dict[str, Any]) -> dict[str, Any]:
    reply = teacher_reply(
        request["messages"], seed=request.get("seed") or 0, paragraph_words=40, length_noise=0.2,
        max_tokens=request.get("max_tokens") or 4096,
    )  # fmt: skip
    usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    usage["total_tokens"] = sum(usage.values())
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "finish_reason": reply.finish_reason, "message": message}
    named = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": request["model"]}
    return {**named, "choices": [choice], "usage": usage}


@contextmanager
def counting_server() -> Iterator[CountingServer]:
    """A server that runs beside the block."""
    with CountingServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
