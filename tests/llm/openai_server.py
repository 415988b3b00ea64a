"""An OpenAI-compatible server on loopback that fails on request; run as a program of its own.

    python -m tests.llm.openai_server        prints its port, then serves until its standard input closes

A request whose last message holds ``[[faults: 429:0.2, 500, drop]]`` meets these faults in turn, one an attempt,
and is answered after them. ``--fault-rate 0.3`` meets every request's first attempts with faults drawn from its
text; ``--kinds all`` draws those that no retry mends as well. Answers come from the offline teacher's grammar, or
with ``--canned`` from arithmetic, which costs the machine next to nothing.
GET /stats tells what was asked since the start or the last GET /reset; GET /now only the counts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

from aiohttp import web

from lwexp.llm.answer import Reply
from lwexp.llm.offline.teacher import teacher_reply

RECOVERABLE = ("429:0.05", "429", "429date:1", "500", "502", "503", "drop", "cut", "garbage", "empty", "slow:3")
FINAL = ("filter", "filter400", "context", "length")
MOST_IN_A_ROW = 3  # drawn faults of one request that a retry mends; a client that tries four times gets through
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
    """What the server has seen. A call is *paid* once the server has worked on it, whoever still listens."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.attempts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.answered = 0
        self.in_flight: set[str] = set()
        self.most_in_flight = 0
        self.first_asked: dict[str, float] = {}
        self.answered_at: dict[str, float] = {}
        self.spent = 0.0
        self.requests: list[dict[str, Any]] = []

    def fault(self, key: str, request: dict[str, Any], headers: Mapping[str, str]) -> str:
        """The fault that this attempt meets, or nothing."""
        text = str(request["messages"][-1]["content"])
        attempt = self.attempts[key]
        self.attempts[key] += 1
        listed = re.search(r"\[\[faults: (.*?)\]\]", text)
        faults = [item.strip() for item in listed[1].split(",")] if listed else self.drawn(key)
        if self.is_busy(key):
            faults = ["429"] * (attempt + 1)
        found = faults[attempt] if attempt < len(faults) else ""
        self.faults[found.split(":")[0]] += bool(found)
        if self.options.record:
            kept = {name: value for name, value in request.items() if name != "messages"}
            told = {"chars": len(text), "authorization": headers.get("Authorization", ""), "key": key, "fault": found}
            told["team"] = headers.get("X-Team")
            told["opening"] = str(request["messages"][0]["content"])[-self.options.record :]
            self.requests.append({**kept, **told, "at": time.time(), "end": text[-self.options.record :]})
        return found

    def is_busy(self, key: str) -> bool:
        """Whether this request is one of those refused for ``--busy-seconds`` from its first attempt on."""
        first = self.first_asked.setdefault(key, time.time())
        chosen = random.Random(f"busy {key}").random() < self.options.busy_rate
        return bool(chosen and time.time() - first < self.options.busy_seconds)

    def drawn(self, key: str) -> list[str]:
        """Faults by the request's own hash: the same in every run."""
        draw, faults = random.Random(key), list[str]()
        kinds = RECOVERABLE + FINAL if self.options.kinds == "all" else RECOVERABLE
        while len(faults) < MOST_IN_A_ROW and draw.random() < self.options.fault_rate:
            faults.append(draw.choice(kinds))
            if faults[-1] in ("filter", "filter400", "context"):
                return faults[:-1] + [faults[-1]] * 100
        return faults

    def charge(self, key: str, usage: dict[str, int]) -> None:
        self.paid[key] += 1
        per_prompt, per_completion = self.options.prices
        self.spent += usage["prompt_tokens"] * per_prompt + usage["completion_tokens"] * per_completion

    def counts(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "attempts": sum(self.attempts.values()),
            "asked": len(self.attempts),
            "paid": sum(self.paid.values()),
            "in_flight": len(self.in_flight),
            "most_in_flight": self.most_in_flight,
            "spent": self.spent,
            "faults": self.faults,
            "cpu_seconds": time.process_time(),
        }

    def stats(self) -> dict[str, Any]:
        paid_again = {key: times - 1 for key, times in self.paid.items() if times > 1}
        now = time.time()
        open_now = sorted(self.in_flight | {key for key, at in self.answered_at.items() if now - at < 0.25})
        return {**self.counts(), "requests": self.requests, "paid_again": paid_again, "open": open_now}


class Server:
    """The routes over one board."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.board = Board(options)

    async def complete(self, http: web.Request) -> web.StreamResponse:
        request = json.loads(await http.read())
        identity = json.dumps([request["messages"], request.get("seed")])
        key = hashlib.sha256(identity.encode()).hexdigest()
        board = self.board
        kind, _, amount = board.fault(key, request, http.headers).partition(":")
        if refusal := refuse(kind, amount, http):
            return refusal
        if kind == "drop":
            return await hang_up(http)
        board.in_flight.add(key)
        board.most_in_flight = max(board.most_in_flight, len(board.in_flight))
        try:
            answer = self.answer(request, kind)
            # A provider charges for what it wrote, whether or not the answer arrives.
            board.charge(key, answer["usage"])
            body = json.dumps(answer).encode()
            await asyncio.sleep(float(amount) if kind == "slow" else self.options.latency)
        finally:
            board.in_flight.discard(key)
        if kind == "cut":
            return await hang_up(http, body)
        board.answered += kind in ("", "slow")
        board.answered_at[key] = time.time()
        return web.Response(
            body=b"<html>It works!</html>" if kind == "garbage" else body, content_type="application/json"
        )

    def answer(self, request: dict[str, Any], kind: str) -> dict[str, Any]:
        """A chat completion, whole or with the named defect."""
        limit = request.get("max_tokens") or 4096
        if self.options.canned:
            reply = canned_reply(request["messages"][-1]["content"], request["messages"][0]["content"])
        else:
            reply = teacher_reply(
                request["messages"],
                seed=request.get("seed") or 0,
                paragraph_words=40,
                length_noise=0.2,
                max_tokens=limit,
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

    async def now(self, _: web.Request) -> web.Response:
        return web.json_response(self.board.counts())

    async def stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.board.stats())

    async def reset(self, _: web.Request) -> web.Response:
        self.board = Board(self.options)
        return web.json_response({})


def refuse(kind: str, amount: str, http: web.Request) -> web.Response | None:
    """The answer of a fault that has a status of its own. A 401 repeats the key, as some providers do."""
    if kind in MESSAGES:
        status, code, message = MESSAGES[kind]
        return web.json_response({"error": {"message": message, "type": code, "code": code}}, status=status)
    digits = kind.removesuffix("date")
    if not digits.isdigit():
        return None
    headers = {"Retry-After": amount} if amount else {}
    if kind.endswith("date"):
        headers = {"Retry-After": formatdate(time.time() + float(amount), usegmt=True)}
    code = ERROR_TYPES.get(int(digits), "server_error")
    message = f"injected {kind}"
    if digits == "401":
        message = f"Incorrect API key provided: {http.headers.get('Authorization', '').removeprefix('Bearer ')}."
    error = {"error": {"message": message, "type": code, "code": code}}
    return web.json_response(error, status=int(digits), headers=headers)


async def hang_up(http: web.Request, body: bytes = b"") -> web.StreamResponse:
    """Close the connection: at once, or in the middle of the body."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if body:
        response.content_length = len(body)
        await response.prepare(http)
        await response.write(body[: len(body) // 2])
    assert http.transport is not None
    http.transport.close()
    return response


def canned_reply(prompt: str, opening: str) -> Reply:
    """Plans of 40 words a paragraph and paragraphs of the words asked for, by arithmetic alone.

    ``opening`` is the first message: it holds the instruction also where a plan is asked for again.
    """
    steps = re.findall(r"Word Count: (\d+) words", prompt)
    if "<step>" in prompt and steps:
        words = int(steps[-1])
        place = hashlib.sha256(prompt.encode()).hexdigest()[:6].translate(str.maketrans("0123456789", "ghijklmnop"))
        text = " ".join([f"Paragraph {place} holds", *(["words"] * (words - 3))])
    else:
        asked = re.search(r"(\d+)(?:-| )word", opening)
        count = max(1, round(int(asked[1]) / 40)) if asked else 1
        lines = (f"Paragraph {i} - Main Point: Point number {i} - Word Count: 40 words" for i in range(1, count + 1))
        text = "\n".join(lines)
    return Reply(text, "stop", len(prompt) // 6, len(text) // 6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fault-rate", type=float, default=0.0)
    parser.add_argument("--kinds", choices=("recoverable", "all"), default="recoverable")
    parser.add_argument("--busy-rate", type=float, default=0.0, help="share of requests refused with 429 at first")
    parser.add_argument("--busy-seconds", type=float, default=1.0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--prices", type=float, nargs=2, default=(0.0, 0.0), help="dollars a prompt and reply token")
    parser.add_argument("--canned", action="store_true", help="cheap replies")
    parser.add_argument("--record", type=int, default=300, help="characters kept of each prompt's end; 0: no records")
    asyncio.run(serve(parser.parse_args()))


async def serve(options: argparse.Namespace) -> None:
    server = Server(options)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_get("/now", server.now)
    app.router.add_get("/stats", server.stats)
    app.router.add_get("/reset", server.reset)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    main()
