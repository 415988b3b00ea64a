"""``kill -9`` during an evaluation whose answers and scores both come from a server on loopback.

    python -m benchmarks.kills evaluate [--quick]

240 prompts are answered and judged through HTTP, 8 calls at a time, each after 20 to 120 ms. The command is started and
killed with SIGKILL at a random moment after its first request, as many times as requested, and then left to finish. Its
output is compared with that of an undisturbed run with the same config. A call is paid twice if the server has answered
the same request twice; only calls in flight at a kill may be.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.killed_command import Start, in_python
from benchmarks.output import show

CONCURRENCY = 8


class Provider:
    """Answers and judges from the request's text alone, and counts what it was asked."""

    def __init__(self) -> None:
        self.received = 0
        self.answered: Counter[str] = Counter()
        self.lock = threading.Lock()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Stay silent."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                provider.serve(self, json.loads(body))

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """Do nothing: clients are killed on purpose."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def serve(self, handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        """Answer one chat completion, after a pause that depends on the request."""
        key = hashlib.sha256(json.dumps([request["messages"], request.get("seed")]).encode()).hexdigest()
        with self.lock:
            self.received += 1
        draw = random.Random(key)
        time.sleep(draw.uniform(0.02, 0.12))
        text = " ".join(["tea"] * draw.randint(20, 200))
        if request["model"] == "judge":
            names = ("relevance", "accuracy", "coherence", "clarity", "breadth_and_depth", "reading_experience")
            text = json.dumps({name: draw.randint(1, 5) for name in names})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        data = json.dumps(body).encode()
        with self.lock:
            self.answered[key] += 1
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


def command(url: str, bench: Path, root: Path) -> list[str]:
    """The evaluation as a user would start it."""
    return [
        sys.executable, "evaluate.py", "bench=jsonl", f"bench.path={bench}", "engine=vllm", f"engine.base_url={url}",
        "engine.model=hosted_vllm/model", f"engine.limits.concurrency={CONCURRENCY}", "judge=server",
        f"judge.base_url={url}", "judge.model=hosted_vllm/judge", f"judge.limits.concurrency={CONCURRENCY}",
        "judge.anchors=off", "sample.max_new_tokens=512", f"root={root}", "name=kills",
    ]  # fmt: skip


def run_once(start: Start, words: list[str], kill_after: float | None, provider: Provider) -> bool:
    """Start the command and kill it ``kill_after`` seconds after its first request. Returns whether it was killed."""
    before = provider.received
    process = start(words, subprocess.DEVNULL)
    if kill_after is None:
        if process.wait(timeout=300) != 0:
            sys.exit("the evaluation failed")
        return False
    while process.poll() is None and provider.received == before:
        time.sleep(0.002)
    try:
        process.wait(timeout=kill_after)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def table(root: Path) -> str:
    """Responses and verdicts of the one run below ``root``."""
    (run,) = root.glob("kills-*")
    manifest = json.loads((run / "manifest.json").read_text())
    if manifest["status"] != "finished":
        sys.exit(f"{run} is {manifest['status']}")
    return "".join((run / name).read_text() for name in ("responses.jsonl", "verdicts.jsonl", "judgements.jsonl"))


def measure(wanted: int, prompts: int, seed: int = 0, start: Start = in_python) -> dict[str, float]:
    """Kill an evaluation ``wanted`` times, let it finish, and compare it with an undisturbed one."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = Path(folder) / "bench.jsonl"
        bench.write_text("".join(json.dumps({"prompt": f"Write {n}.", "length": 100}) + "\n" for n in range(prompts)))
        calm, wild = Provider(), Provider()
        run_once(start, command(calm.url, bench, Path(folder) / "calm"), None, calm)
        kills, starts = 0, 0
        words = command(wild.url, bench, Path(folder) / "wild")
        started = time.perf_counter()
        while kills < wanted and starts < 3 * wanted:
            starts += 1
            # Two calls per prompt, 8 at a time, 0.07 s each: the kills are spread over three quarters of the work.
            longest = 2 * prompts / CONCURRENCY * 0.07 / wanted * 1.5
            kills += run_once(start, words, draw.uniform(0.0, longest), wild)
        run_once(start, words, None, wild)
        calls = sum(wild.answered.values())
        # The base URL is part of a run's id and so of its folder's name, but not of the contents of these files.
        same = table(Path(folder) / "calm") == table(Path(folder) / "wild")
    return {
        "kills": kills,
        "starts": starts + 1,
        "table_is_equal": float(same),
        "calls_undisturbed": sum(calm.answered.values()),
        "calls_killed": calls,
        "paid_twice": calls - len(wild.answered),
        "in_flight_at_most": kills * CONCURRENCY,
        "most_for_one_request": max(wild.answered.values()),
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    """Thirty kills, five with --quick."""
    found = measure(5, 60) if "--quick" in sys.argv else measure(30, 240)
    show("kills_evaluate", {"kill_9": {"ours": found}}, packages=("litellm",))
    if not found["table_is_equal"] or found["paid_twice"] > found["in_flight_at_most"]:
        sys.exit("the killed evaluation differs from the undisturbed one, or paid for more than was in flight")


if __name__ == "__main__":
    main()
