"""Responses, and a judge behind a real HTTP server that says what a test tells it to."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lwexp.extend.endpoint import Limits
from lwexp.llm.endpoints.hosted import LiteLLMJudge
from lwexp.records import Response, Sampling
from tests import http_thread

SAMPLING = Sampling(temperature=0.5, top_p=1, top_k=0, repetition_penalty=1, max_new_tokens=99, seed=1)

Say = Callable[[list[dict[str, str]]], str]


def response(id: str = "p#0", **changes: Any) -> Response:
    plain = {
        "prompt_id": id.split("#")[0], "repeat": int(id.split("#")[1]), "prompt": "Write about tea in 10 words.",
        "language": "en", "type": "t", "required_words": 10, "text": "Tea is good.", "words": 3,
        "finish_reason": "stop", "model": "m", "sampling": SAMPLING,
    }  # fmt: skip
    return Response(id=id, **(plain | changes))


class Judge:
    """A loopback server. ``say`` turns a request's messages into the reply's text, or raises for a 400."""

    def __init__(self) -> None:
        self.say: Say = lambda messages: "{}"
        self.seen: list[list[dict[str, str]]] = []
        self.status = 200
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
                judge.seen.append(messages)
                body: dict[str, Any] = {"error": {"message": "told to fail", "type": "x", "code": "x"}}
                if judge.status == 200:
                    message = {"role": "assistant", "content": judge.say(messages)}
                    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                    choice = {"index": 0, "finish_reason": "stop", "message": message}
                    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "local"}
                    body |= {"choices": [choice], "usage": usage}
                data = json.dumps(body).encode()
                self.send_response(judge.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        http_thread.start(self.server)

    def config(self, concurrency: int = 4, **changes: Any) -> LiteLLMJudge:
        limits = Limits(
            concurrency=concurrency,
            requests_per_minute=None,
            tokens_per_minute=None,
            timeout_seconds=20.0,
            max_attempts=1,
            initial_backoff_seconds=1.0,
            budget_usd=None,
        )
        return LiteLLMJudge(
            kind="litellm", model="hosted_vllm/judge", base_url=f"http://127.0.0.1:{self.server.server_port}/v1",
            api_key_env=None, top_p=1, max_tokens=100, price=None, limits=limits,
            **{"temperature": 0, "prompt": None, "repeats": 1, "segments": False} | changes,
        )  # fmt: skip
