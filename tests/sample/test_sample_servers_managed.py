"""The managed engine against a real process: start, identity, death, restart, and nothing left running."""

import ctypes
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import AutoTokenizer

from lwexp.config import compose
from lwexp.config.evaluate import ServerEngine
from lwexp.records import LwexpError, Prompt, Response
from lwexp.records.checksums import write_checksums
from lwexp.runs.artifacts import EngineSummary
from lwexp.runs.identity import model_fingerprint
from lwexp.sample.collect import collect
from lwexp.sample.servers.process import ServerProcess

FAKE = Path(__file__).with_name("fake_server.py")
ARGUMENTS = ("--served-model-name", "m", "--dtype", "auto", "--generation-config", "vllm")
PROMPTS = [
    Prompt(id=f"p{n}", text=f"Write about tea {n}", language="en", type="t", required_words=10) for n in range(6)
]


@pytest.fixture
def model(llama_folder: Path, tmp_path: Path) -> Path:
    """An exported model; the fake server knows the tokens that transformers' own chat template gives."""
    folder = tmp_path / "model"
    shutil.copytree(llama_folder, folder)
    settings(folder)
    return folder


def settings(folder: Path, **changes: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = {}
    for prompt in PROMPTS:
        message = [{"role": "user", "content": prompt.text}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        tokens[prompt.text] = tokens[text] = tokenizer.encode(text, add_special_tokens=False)
    (folder / "fake.json").write_text(json.dumps({"tokens": tokens, "lives": 0} | changes), encoding="utf-8")


def run(
    folder: Path,
    command: str = f"{sys.executable} {FAKE}",
    overrides: Sequence[str] = (),
    program: str = "vllm",
    concurrency: int = 2,
    **sampling: Any,
) -> list[Response]:
    config = compose(f"engine={program}", f"engine.command='{command}'", *overrides)
    assert isinstance(config.engine, ServerEngine)
    limits = config.engine.limits.model_copy(update={"max_attempts": 1, "concurrency": concurrency})
    engine = config.engine.model_copy(update={"limits": limits})
    sample = config.sample.model_copy(update={"max_new_tokens": 64} | sampling)
    out = folder.parent / "responses.jsonl"
    return collect(PROMPTS, model=folder, model_name="m", sample=sample, seed=0, out=out, server=engine)


def started(folder: Path) -> list[list[int]]:
    """Process ids of each start: the server and its child."""
    lines = (folder / ".pids").read_text(encoding="utf-8").splitlines()
    return [[int(pid) for pid in line.split()] for line in lines]


def left_running(folder: Path) -> list[int]:
    found = [pid for pids in started(folder) for pid in pids if psutil.pid_exists(pid)]
    # An orphaned child that was killed may stay a zombie until init collects it.
    return [pid for pid in found if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_a_server_is_started_asked_and_stopped_with_its_children(model: Path) -> None:
    assert [row.text for row in run(model)] == [f"Answer to {prompt.text}" for prompt in PROMPTS]
    assert len(started(model)) == 1
    assert left_running(model) == []
    assert "Answer" in run(model)[0].text
    assert len(started(model)) == 1, "all answers were there, and the server was started for nothing"


def test_what_answered_is_recorded(model: Path) -> None:
    run(model, overrides=["engine.context=300"])
    found = EngineSummary.read(model.parent)
    assert found is not None
    assert (found.positions, found.version, found.starts) == (300, "0.0.fake", 1)
    assert found.weights == model_fingerprint(model, model.parent)
    assert found.command[2:4] == ["--model", str(model)]


def test_sglang_is_started_by_its_own_arguments_and_answers(model: Path) -> None:
    answers = run(model, program="sglang", overrides=["engine.context=300"])
    assert [row.text for row in answers] == [f"Answer to {prompt.text}" for prompt in PROMPTS]
    assert left_running(model) == []


@pytest.mark.parametrize("is_text", [True, False], ids=["tokenizer", "template"])
def test_sglang_with_another_tokenizer_or_template_is_refused(model: Path, is_text: bool) -> None:
    """Its /tokenize takes the rendered prompt, and the number of tokens of a message shows the template."""
    tokens = json.loads((model / "fake.json").read_text(encoding="utf-8"))["tokens"]
    texts = {prompt.text for prompt in PROMPTS}
    settings(model, tokens={text: ids if (text in texts) == is_text else [*ids, 1] for text, ids in tokens.items()})
    with pytest.raises(LwexpError, match="does not use the tokenizer and chat template"):
        run(model, program="sglang")
    assert left_running(model) == []


def test_a_server_of_other_weights_is_refused(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "model.safetensors").write_bytes(b"other")
    settings(model, root=str(other))
    with pytest.raises(LwexpError, match=f"was loaded from {other}, whose files differ from those of {model}"):
        run(model)
    assert left_running(model) == []


def test_a_server_that_never_becomes_healthy_is_stopped(model: Path) -> None:
    settings(model, sick=True)
    with pytest.raises(LwexpError, match=r"was not healthy after engine.start_seconds=3"):
        run(model, overrides=["engine.start_seconds=3"])
    assert left_running(model) == []


def test_a_port_that_another_program_took_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other program answers nothing."""
    monkeypatch.setattr("lwexp.sample.servers.process._ANSWER_SECONDS", 0.5)
    settings(model, broken=True)
    with socket.socket() as other:
        server = ServerProcess([sys.executable, str(FAKE), *ARGUMENTS, "--model", str(model)], tmp_path / "log", 60)
        other.bind(("127.0.0.1", server.port))
        other.listen()
        with pytest.raises(LwexpError, match=f"before it was healthy; another program took port {server.port}"):
            server.start()
    server.stop()


def test_nothing_is_left_after_a_kill_of_lwexp(model: Path) -> None:
    """The server's child ignores its parent's end, as a worker of vLLM may."""
    script = (
        "import os, sys; from lwexp.sample.servers.process import ServerProcess; from pathlib import Path\n"
        f"server = ServerProcess({[sys.executable, str(FAKE), *ARGUMENTS, '--model', str(model)]!r}, "
        f"Path({str(model.parent / 'log')!r}), 60)\n"
        "server.start(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while left_running(model) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left_running(model) == []


def test_children_that_have_ended_and_are_not_reaped_do_not_delay_the_stop(model: Path, tmp_path: Path) -> None:
    """This process takes init's place and reaps nothing, as the first program of a container may."""
    adopt_orphans = functools.partial(ctypes.CDLL(None).prctl, 36)  # PR_SET_CHILD_SUBREAPER
    server = ServerProcess([sys.executable, str(FAKE), *ARGUMENTS, "--model", str(model)], tmp_path / "log", 60)
    server.start()
    [[_, child]] = started(model)
    assert adopt_orphans(1) == 0
    try:
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 15  # it waits 20 s for a child that runs, and 20 s more after SIGKILL
        assert psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    finally:
        adopt_orphans(0)
        os.waitpid(child, 0)


def test_a_server_that_dies_is_started_once_more_and_no_answer_is_missing(model: Path) -> None:
    settings(model, die_after=2, lives=1)
    assert [row.text for row in run(model)] == [f"Answer to {prompt.text}" for prompt in PROMPTS]
    assert len(started(model)) == 2
    assert left_running(model) == []


def test_a_server_that_dies_twice_is_given_up_and_keeps_its_answers(model: Path) -> None:
    settings(model, die_after=1, lives=2)
    with pytest.raises(LwexpError, match="the server died twice, with 4 answers missing"):
        run(model, concurrency=1)  # with two at once, the first answer may be lost with the second
    assert len(started(model)) == 2
    assert left_running(model) == []
    kept = (model.parent / "responses.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["finish_reason"] for line in kept] == ["stop", "stop"]


def test_another_model_on_the_port_is_refused(model: Path) -> None:
    settings(model, name="somebody-elses")
    with pytest.raises(LwexpError, match="serves somebody-elses, not lwexp-"):
        run(model)
    assert left_running(model) == []


def test_another_chat_template_on_the_server_is_refused(model: Path) -> None:
    tokens = json.loads((model / "fake.json").read_text(encoding="utf-8"))["tokens"]
    settings(model, tokens={text: [*ids[:3], 1, *ids[3:]] for text, ids in tokens.items()})
    with pytest.raises(
        LwexpError, match="differ from token 3 on: the server does not use the tokenizer and chat template"
    ):
        run(model)
    assert left_running(model) == []


def test_a_server_gets_the_context_that_the_answers_need(model: Path) -> None:
    """The fake server has 2,000 positions unless it is told otherwise; the model has 512, so 1,024 are too many."""
    run(model)
    found = EngineSummary.read(model.parent)
    assert found is not None
    assert found.positions == 512


@pytest.mark.parametrize(
    ("overrides", "answer", "wanted"),
    [((), 512, "exceeds the 512 positions of the model"), (("engine.context=70",), 64, "positions of the server")],
)
def test_answers_longer_than_the_context_are_refused_before_a_server_starts(
    model: Path, overrides: tuple[str, ...], answer: int, wanted: str
) -> None:
    with pytest.raises(LwexpError, match=wanted):
        run(model, overrides=overrides, max_new_tokens=answer)
    assert not (model / ".pids").exists()


def test_a_server_that_ends_before_it_is_healthy_is_one_line_with_its_last_words(model: Path) -> None:
    settings(model, broken=True)
    with pytest.raises(LwexpError, match="ended with exit code 1 before it was healthy: no room for the weights"):
        run(model)


def test_a_command_that_does_not_exist_is_named(model: Path) -> None:
    with pytest.raises(LwexpError, match=r"engine\.command: /nowhere/python cannot be started"):
        run(model, command="/nowhere/python -m vllm")


@pytest.mark.parametrize("key", ["command", "options"])
def test_an_open_quote_is_refused_before_anything_starts(key: str) -> None:
    with pytest.raises(LwexpError, match=f"engine.{key}=vllm 'x: No closing quotation"):
        compose("engine=vllm", f'engine.{key}="vllm \'x"')
    compose("engine=vllm", f"engine.{key}=\"vllm 'x'\"")


def test_weights_that_changed_since_their_export_reach_no_server(model: Path) -> None:
    """The negative control is every other test here: folders without checksums are served."""
    write_checksums(model, model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(LwexpError, match=r"model\.safetensors has changed since it was written; copy it again"):
        run(model)
    assert not (model / ".pids").exists()
