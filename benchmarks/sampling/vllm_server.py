"""vLLM's server on the CPU, from an environment of its own."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks.sampling.processes import PeakMemory
from benchmarks.sampling.task import Answers, Task, timed, until_stop

PYTHON = "LWEXP_VLLM_PYTHON"
"""Variable that names the interpreter of vLLM's environment."""

_MEMORY_SHARE = "0.1"  # of the host's memory, for keys and values
_START_SECONDS = 900.0
_ANSWER_SECONDS = 1800


def answers(task: Task) -> dict[str, Any]:
    """Through the completions endpoint, which takes the prompt's tokens; all requests at once."""
    from lwexp.sample.servers.process import ServerProcess

    engine = task.engine("float32")
    encoded = task.encoded(engine)
    stops = list(engine.chat.stop_ids(engine.tokenizer))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        server = ServerProcess(_command(task, max(map(len, encoded.values()))), log, _START_SECONDS)
        try:
            with PeakMemory(os.getpid(), itself=False) as memory:
                server.start()

                def ask(item: tuple[str, list[int]]) -> tuple[str, list[int]]:
                    return item[0], _asked(server.url, item[1], task.most, stops)

                def all_answers() -> Answers:
                    with ThreadPoolExecutor(len(encoded)) as pool:
                        return dict(pool.map(ask, encoded.items()))

                told = timed(all_answers, _cpu_of_children)
        except Exception:
            if log.exists():
                sys.stderr.write(log.read_text(encoding="utf-8", errors="replace"))
            raise
        finally:
            server.stop()
    return told | {"peak_mib": memory.mib}


def _cpu_of_children() -> float:
    """CPU seconds of the server and its workers, which live as long as it does."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return float(sum(time.user + time.system for time in times))


def _command(task: Task, longest: int) -> list[str]:
    settings = {
        "--model": task.model.resolve(), "--served-model-name": "m", "--dtype": "float32",
        "--max-model-len": longest + task.most, "--max-num-seqs": len(task.prompts()),
        "--generation-config": "vllm", "--gpu-memory-utilization": _MEMORY_SHARE,
    }  # fmt: skip
    words = [str(part) for pair in settings.items() for part in pair]
    # Compiling takes longer than the answers on a CPU.
    return [os.environ[PYTHON], "-m", "vllm.entrypoints.openai.api_server", *words, "--enforce-eager"]


def _asked(url: str, prompt: list[int], most: int, stops: list[int]) -> list[int]:
    body = {
        "model": "m", "prompt": prompt, "temperature": 0, "max_tokens": most, "stop_token_ids": stops,
        "return_token_ids": True,
    }  # fmt: skip
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/completions", json.dumps(body).encode(), kind)
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as reply:
        return until_stop(json.loads(reply.read())["choices"][0]["token_ids"], stops)
