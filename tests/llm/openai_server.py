"""An OpenAI-compatible server on loopback that fails on request; run as a program of its own.

    python openai_server.py        prints its port, then serves until its standard input closes

A request whose last message holds ``[[faults: 429:0.2, 500, drop]]`` meets these faults in turn, one an attempt,
and is answered after them. ``--fault-rate 0.3`` meets every request's first attempts with faults drawn from its
text. Answers come from the offline teacher's grammar, so plans and paragraphs are real ones.
GET /stats tells what was asked since the start or the last GET /reset.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lwexp.llm.offline_reply import teacher_reply

RECOVERABLE = ("429:0.05", "429", "500", "502", "503", "drop", "cut", "garbage", "empty", "slow:3")
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "invalid_api_key",
    404: "model_not_found",
    429: "rate_limit_exceeded",
}
MESSAGES = {
    "context": (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens."),
    "filter400": (400, "content_filter", "The response was filtered: content management policy."),
    "quota": (429, "insufficient_quota", "You exceeded your current quota."),
}


class Board:
    """What the server has seen, shared by its threads."""

    def __init__(self, fault_rate: float, latency: float) -> None:
        self.lock = threading.Lock()
        self.attempts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.answered = 0
        self.requests: list[dict[str, Any]] = []
        self.fault_rate = fault_rate
        self.latency = latency

    def fault(self, request: dict[str, Any], authorization: str) -> str | None:
        """The fault that this attempt meets, or None."""
        messages = request["messages"]
        text = str(messages[-1]["content"])
        key = hashlib.sha256(json.dumps([messages, request.get("seed")]).encode()).hexdigest()
        with self.lock:
            attempt = self.attempts[key]
            self.attempts[key] += 1
            kept = {name: value for name, value in request.items() if name != "messages"}
            self.requests.append({**kept, "chars": len(text), "authorization": authorization})
            listed = re.search(r"\[\[faults: (.*?)\]\]", text)
            faults = [item.strip() for item in listed[1].split(",")] if listed else []
            if not listed and self.fault_rate:
                draw = random.Random(f"{key}{attempt}")
                faults = [""] * attempt + ([draw.choice(RECOVERABLE)] if draw.random() < self.fault_rate else [])
            found = faults[attempt] if attempt < len(faults) else ""
            self.faults[found.split(":")[0]] += bool(found)
            self.answered += not found
            return found or None


class Handler(BaseHTTPRequestHandler):
    """One request."""

    board: Board
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        if self.path == "/reset":
            type(self).board = Board(self.board.fault_rate, self.board.latency)
        board = self.board
        with board.lock:
            self.send(
                200,
                {
                    "requests": board.requests,
                    "answered": board.answered,
                    "attempts": sum(board.attempts.values()),
                    "faults": board.faults,
                },
            )

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.board.fault(request, self.headers.get("Authorization", ""))
        kind, _, amount = (fault or "").partition(":")
        if kind == "slow":
            time.sleep(float(amount))
        elif kind == "drop":
            self.hang_up()
            return
        elif kind == "cut":
            body = json.dumps(self.answer(request, "stop")).encode()
            self.head(200, len(body), {})
            self.wfile.write(body[: len(body) // 2])
            self.hang_up()
            return
        elif kind == "garbage":
            self.send_bytes(200, b"<html>It works!</html>", {})
            return
        elif kind in MESSAGES:
            status, code, message = MESSAGES[kind]
            self.send(status, {"error": {"message": message, "type": code, "code": code}})
            return
        elif kind.isdigit():
            headers = {"Retry-After": amount} if amount else {}
            code = ERROR_TYPES.get(int(kind), "server_error")
            self.send(int(kind), {"error": {"message": f"injected {kind}", "type": code, "code": code}}, headers)
            return
        time.sleep(self.board.latency)
        self.send(200, self.answer(request, kind))

    def answer(self, request: dict[str, Any], kind: str) -> dict[str, Any]:
        """A chat completion, whole or with the named defect."""
        reply = teacher_reply(
            request["messages"],
            seed=request.get("seed") or 0,
            paragraph_words=40,
            miss=0.2,
            max_tokens=request.get("max_tokens") or 4096,
        )
        finish = {"filter": "content_filter", "length": "length"}.get(kind, reply.finish_reason)
        text = "" if kind in ("empty", "filter") else reply.text
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
            "usage": {
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
                "total_tokens": reply.prompt_tokens + reply.completion_tokens,
            },
        }

    def send(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self.send_bytes(status, json.dumps(value).encode(), headers or {})

    def send_bytes(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.head(status, len(body), headers)
        self.wfile.write(body)

    def head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """Threads that die with the program, and a queue long enough for 64 connections at once."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the test."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    Handler.board = Board(options.fault_rate, options.latency)
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
