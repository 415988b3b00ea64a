"""Pairs through the real command: killed and restarted, chosen again with other settings, sampled from a server."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lwexp.records import Failure, PreferencePair, Response, read_rows
from tests import forked, http_thread

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def start(*arguments: str) -> forked.Process:
    return forked.Process([sys.executable, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"})


def run(*arguments: str) -> tuple[int, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode is not None
    return process.returncode, out + err


def pairs_command(root: Path, *overrides: str) -> tuple[str, ...]:
    return ("generate_data.py", "experiment=smoke", "task=pairs", "init_from=sft", f"root={root}", *overrides)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drafts, an SFT run and an undisturbed pairs run."""
    folder = tmp_path_factory.mktemp("pairs") / "runs"
    for step in (
        ("generate_data.py", "experiment=smoke", f"root={folder}"),
        ("train.py", "experiment=smoke", "name=sft", "objective.max_steps=2", f"root={folder}"),
        pairs_command(folder, "sample.batch_size=4", "name=calm"),
    ):
        code, said = run(*step)
        assert code == 0, said
    return folder


def one(root: Path, pattern: str) -> Path:
    (found,) = root.glob(pattern)
    return found


def made(folder: Path) -> dict[str, bytes]:
    """What a pairs run makes, less run ids and times."""
    names = ("pairs.jsonl", "pairs.parquet", "pair_failures.jsonl", "verdicts.jsonl", "responses.jsonl")
    return {name: (folder / name).read_bytes() for name in names}


def kill_when(process: forked.Process, is_time: Any) -> None:
    deadline = time.monotonic() + 200
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_among_answers_and_among_verdicts_it_ends_as_if_undisturbed(root: Path, tmp_path: Path) -> None:
    """Answers come in batches of 4. The copy has no pairs run whose answers it could take over."""
    copy = tmp_path / "runs"
    copy.mkdir()
    for name in ("data-offline-*", "sft-*"):
        (copy / one(root, name).name).symlink_to(one(root, name))
    command = pairs_command(copy, "sample.batch_size=4", "name=calm")

    def lines(name: str) -> int:
        return sum(path.read_bytes().count(b"\n") for path in copy.glob(f"calm-*/{name}"))

    kill_when(start(*command), lambda: 0 < lines("responses.jsonl") < 16)
    there = lines("responses.jsonl")
    assert 0 < there < 16
    kill_when(start(*command), lambda: list(copy.glob("calm-*/ledger.sqlite")))
    assert not list(copy.glob("calm-*/pairs.jsonl"))
    code, said = run(*command)
    assert code == 0, said

    assert made(one(copy, "calm-*")) == made(one(root, "calm-*"))
    assert f"found {there} of 16 answers, sampling the rest" in (one(copy, "calm-*") / "log.txt").read_text()


def test_another_choice_takes_the_answers_over_and_samples_nothing(root: Path) -> None:
    calm = one(root, "calm-*")
    code, said = run(*pairs_command(root, "pairs.rejected=margin", "pairs.min_margin=2", "name=strict"))
    assert code == 0, said
    strict = one(root, "strict-*")
    assert f"answers copied from {calm.name}" in said
    assert (strict / "responses.jsonl").read_bytes() == (calm / "responses.jsonl").read_bytes()
    for pair in read_rows(strict / "pairs.jsonl", PreferencePair):
        assert pair.chosen_score is not None
        assert pair.rejected_score is not None
        assert pair.chosen_score - pair.rejected_score >= 2


def test_the_page_and_the_numbers_of_a_run_hold_its_scores(root: Path) -> None:
    calm = one(root, "calm-*")
    results = json.loads((calm / "manifest.json").read_text())["results"]
    everything = results["by_required_words"][-1]
    assert everything["label"] == "all"
    assert everything["prompts"] == 8 == results["pairs"] + sum(everything["skipped"].values())
    assert (calm / "viewer.html").stat().st_size > 10_000
    assert "README.md" in {path.name for path in calm.iterdir()}


class Server:
    """Answers 50 to 110 words of tea; says 500 to the first request of every prompt that it is told to fail."""

    def __init__(self) -> None:
        self.failing = False
        self.asked: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(request)
                body: dict[str, Any] = {"error": {"message": "busy", "type": "x", "code": "x"}}
                if not server.failing:
                    text = " ".join(["tea"] * (50 + request["seed"] % 61))
                    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
                    body |= {"choices": [choice], "usage": usage}
                data = json.dumps(body).encode()
                self.send_response(500 if server.failing else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        http_thread.start(self.http)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_server_answers_and_what_it_fails_to_is_asked_again(root: Path, server: Server) -> None:
    command = pairs_command(
        root, "engine=vllm", f"engine.base_url=http://127.0.0.1:{server.http.server_port}/v1",
        "engine.model=hosted_vllm/sft", "engine.limits.max_attempts=1", "name=served",
    )  # fmt: skip
    server.failing = True
    code, said = run(*command)
    served = one(root, "served-*")
    assert (code, "no pairs yet, the same command requests them again" in said) == (0, True), said
    assert not (served / "pairs.jsonl").exists()
    server.failing, server.asked = False, []
    code, said = run(*command)
    assert code == 0, said
    assert "assumed to serve the model of sft-" in said
    assert len(server.asked) == 16
    assert {request["temperature"] for request in server.asked} == {1.0}
    assert {row.model for row in read_rows(served / "responses.jsonl", Response)} == {"hosted_vllm/sft"}
    kept = list(read_rows(served / "pairs.jsonl", PreferencePair))
    assert len(kept) + sum(1 for _ in read_rows(served / "pair_failures.jsonl", Failure)) == 8
    assert kept
    assert all(pair.chosen.startswith("tea tea") for pair in kept)
