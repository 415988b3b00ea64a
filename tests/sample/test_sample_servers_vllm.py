"""The real vLLM, where its command is given (make test-vllm): transformers' greedy answers, also after a kill.

LWEXP_VLLM="<venv>/bin/python -m vllm.entrypoints.openai.api_server" pytest tests/sample/test_sample_servers_vllm.py
"""

import os
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lwexp.config import compose
from lwexp.config.evaluate import ServerEngine
from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer
from lwexp.records import Prompt, Response
from lwexp.runs.artifacts import EngineSummary
from lwexp.sample.collect import collect
from tests.sample.conftest import TEXTS

COMMAND = os.environ.get("LWEXP_VLLM")
PROMPTS = [Prompt(id=f"p{n}", text=text, language="en", type="t", required_words=9) for n, text in enumerate(TEXTS)]

pytestmark = [
    pytest.mark.skipif(COMMAND is None, reason="LWEXP_VLLM does not name vLLM's command: make test-vllm"),
    pytest.mark.timeout(1500),  # a start takes 30 s on idle cores, and there are two
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Weights with a wide spread, so that no greedy choice is a near tie; vLLM needs heads of 32 numbers."""
    tokenizer = train_tokenizer(TEXTS, 300, "llama31")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, max_position_embeddings=256, initializer_range=0.3,
        pad_token_id=0, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
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
