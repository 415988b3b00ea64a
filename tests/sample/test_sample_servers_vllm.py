"""The real vLLM, where its command is given (make test-vllm): transformers' greedy answers, also after a kill.

LWEXP_VLLM="<venv>/bin/python -m vllm.entrypoints.openai.api_server" pytest tests/sample/test_sample_servers_vllm.py
"""

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from lwexp.config import compose
from lwexp.config.evaluate import ServerEngine
from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer
from lwexp.records import Prompt, Response
from lwexp.runs.artifacts import EngineSummary
from lwexp.sample.collect import collect
from tests.sample.conftest import TEXTS
from tests.tiny_llama import tiny_llama

COMMAND = os.environ.get("LWEXP_VLLM")
PROMPTS = [Prompt(id=f"p{n}", text=text, language="en", type="t", required_words=9) for n, text in enumerate(TEXTS)]

pytestmark = [
    pytest.mark.skipif(COMMAND is None, reason="LWEXP_VLLM does not name vLLM's command: make test-vllm"),
    pytest.mark.timeout(1500),  # a start takes 30 s on idle cores, and there are two
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """vLLM needs heads of 32 numbers."""
    tokenizer = train_tokenizer(TEXTS, 300, "llama31")
    tiny_llama(len(tokenizer), head_dim=32, positions=256).save_pretrained(tmp_path / "model")
    save_tokenizer(tokenizer, tmp_path / "model")
    return tmp_path / "model"


def run(model: Path, out: Path, server: ServerEngine | None) -> list[str]:
    sample = compose("sample.temperature=0", "sample.max_new_tokens=24").sample
    found: list[Response] = collect(
        PROMPTS, model=model, model_name="m", sample=sample, seed=0, out=out / "responses.jsonl", server=server
    )
    # vLLM leaves out bytes at the end of an answer that form no character; transformers shows them.
    return [row.text.rstrip("\N{REPLACEMENT CHARACTER}") for row in found]


def servers() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def kill_after_the_first_answer(out: Path, killed: list[int]) -> None:
    while not (out / "responses.jsonl").exists() or not (out / "responses.jsonl").read_bytes().count(b"\n"):
        time.sleep(0.05)
    server = next(child for child in servers() if "--served-model-name" in child.cmdline())
    server.kill()
    killed.append(server.pid)


def test_vllm_gives_transformers_answers_recovers_from_a_kill_and_leaves_nothing(model: Path, tmp_path: Path) -> None:
    engine = compose(
        "engine=vllm", f"engine.command='{COMMAND}'", "engine.dtype=float32", "engine.memory_share=0.1",
        "engine.limits.concurrency=1", "engine.limits.max_attempts=1", "engine.options=--enforce-eager",
    ).engine  # fmt: skip
    assert isinstance(engine, ServerEngine)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    killed: list[int] = []
    watcher = threading.Thread(target=kill_after_the_first_answer, args=(there, killed), daemon=True)
    watcher.start()
    answers = run(model, there, engine)
    watcher.join()
    assert answers == run(model, here, None)
    assert len(set(answers)) > 1
    found = EngineSummary.read(there)
    assert found is not None
    assert (len(killed), found.starts) == (1, 2)
    assert found.version
    assert servers() == []
