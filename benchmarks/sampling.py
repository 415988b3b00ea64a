"""Who samples fastest: lwexp's loop, transformers' two, or vLLM on the CPU; and what workers gain.

    python -m benchmarks.sampling runs/demo/long-*/model [--repeats 4] [--case greedy workers]
    LWEXP_VLLM_PYTHON=ENV/bin/python python -m benchmarks.sampling MODEL     also vLLM, from an environment of its own
    python -m benchmarks.sampling --quick                                    eight prompts, random weights

Case ``greedy``: the 64 prompts of the miniature bench, answered once by each system in a process of its own, on one
thread. ``tokens_per_s`` starts when the model is loaded; ``peak_mib`` is the resident memory of the process and its
children; ``equal`` counts the answers whose tokens are those of transformers' ``generate`` with one prompt at a time in
float64. ``ours`` is what a small model gets: float64, so that answers do not depend on each
other.

Case ``workers``: the same prompts, ``repeats`` seeded answers to each, through ``lwexp.sample.collect`` with one worker
and with two. ``seconds`` are those of the whole process, start included; ``equal_files`` is 1 if the files are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks.output import Results, show

SLOTS = 64
VLLM_PROMPTS = 8  # of every length; on a CPU it writes a few tokens a second
QUICK_PROMPTS = 8
VLLM = "LWEXP_VLLM_PYTHON"
Answers = dict[str, list[int]]


def main() -> None:
    """Run every system in a process of its own, or the one that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--most", type=int, default=1200, help="sample.max_new_tokens")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", nargs="*", choices=("greedy", "workers"), default=("greedy", "workers"))
    parser.add_argument("--system", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.system:
        json.dump(SYSTEMS[options.system](options), sys.stdout)
        return
    if options.model is None and not options.quick:
        parser.error("which model? give a folder, or --quick")
    with tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            options.model, options.most, options.repeats = random_model(Path(folder) / "model"), 24, 2
        results: Results = {}
        if "greedy" in options.case:
            results["greedy"] = greedy(options)
        if "workers" in options.case:
            results["workers"] = workers(options, Path(folder))
    show("sampling", results, packages=("torch", "transformers"))


def greedy(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Each system's speed, memory and agreement."""
    wanted = measured("one_by_one_float64", options)["answers"]
    names = ["ours", "ours_float32", "one_by_one", "generate", "continuous"]
    if VLLM in os.environ:
        names.append("vllm_cpu")
    found: dict[str, dict[str, float]] = {}
    for name in names:
        told = measured(name, options)
        equal = [answer == wanted[id] for id, answer in told["answers"].items()]
        found[name] = {
            "tokens_per_s": told["tokens"] / told["seconds"],
            "seconds": told["seconds"],
            "peak_mib": told["peak_mib"],
            "equal": sum(equal),
            "answers": len(equal),
        }
    return found


def workers(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """One worker and two on the same seeded answers, each first once, because a shared machine changes its speed."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    peaks: dict[int, float] = {}
    for turn, number in enumerate((1, 2) if options.quick else (1, 2, 2, 1)):
        options.out = folder / f"{turn}" / f"{number}.jsonl"
        told = measured(f"workers_{number}", options)
        seconds[number].append(told["whole_seconds"])
        peaks[number] = told["peak_mib"]
    files = {file.read_bytes() for file in folder.glob("*/*.jsonl")}
    return {
        name: {
            "seconds": min(seconds[number]),
            "over_one": min(seconds[number]) / min(seconds[1]),
            "peak_mib": peaks[number],
            "equal_files": float(len(files) == 1),
        }
        for name, number in (("ours", 1), ("two_workers", 2))
    }


def measured(system: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a system says of itself, with the peak memory of its processes and the time of the whole process."""
    command = [sys.executable, "-m", "benchmarks.sampling", str(options.model), "--system", system]
    command += ["--most", str(options.most), "--repeats", str(options.repeats)]
    command += ["--quick"] * options.quick + (["--out", str(options.out)] if options.out else [])
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        peak = [0.0]
        watcher = threading.Thread(target=watch, args=(process.pid, peak), daemon=True)
        watcher.start()
        output, _ = process.communicate()
        whole = time.perf_counter() - began
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{system} failed:\n{errors.read()[-2000:]}")
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told | {"peak_mib": peak[0] / 2**20, "whole_seconds": whole}


def watch(pid: int, peak: list[float]) -> None:
    """Note the largest resident memory of a process and its children until it ends."""
    while True:
        try:
            top = psutil.Process(pid)
            if top.status() == psutil.STATUS_ZOMBIE:
                return
            family = [top, *top.children(recursive=True)]
            peak[0] = max(peak[0], sum(process.memory_info().rss for process in family))
        except psutil.NoSuchProcess:
            if not psutil.pid_exists(pid):
                return
        time.sleep(0.05)


def prompts_of(options: argparse.Namespace) -> list[Any]:
    """The prompts of the miniature bench."""
    from lwexp.benches.select import load_bench
    from lwexp.config import compose

    prompts = load_bench(compose("experiment=miniature").bench)
    return prompts[:QUICK_PROMPTS] if options.quick else prompts[:SLOTS]


def sampling(options: argparse.Namespace, **changes: Any) -> Any:
    """Greedy, ``SLOTS`` answers at a time."""
    from lwexp.config import compose

    greedy = {"temperature": 0, "repeats": 1, "max_new_tokens": options.most, "batch_size": SLOTS}
    return compose("experiment=miniature").sample.model_copy(update=greedy | changes)


def ours(options: argparse.Namespace, number_format: str) -> dict[str, Any]:
    """lwexp's loop."""
    from lwexp.sample.decode import DecodeRequest, decode

    engine, encoded = loaded(options, number_format)
    requests = [DecodeRequest(id, tokens, seed=id) for id, tokens in encoded.items()]
    stops = engine.chat.stop_ids(engine.tokenizer)

    def answers() -> Answers:
        return {done.id: done.tokens for done in decode(engine.model, requests, sampling(options), stops)}

    return timed(answers)


def generate(options: argparse.Namespace, number_format: str, rows: int) -> dict[str, Any]:
    """transformers' ``generate``, ``rows`` prompts at a time, padded on the left, long answers together."""
    import torch

    engine, encoded = loaded(options, number_format)
    stops = list(engine.chat.stop_ids(engine.tokenizer))

    def answers() -> Answers:
        found: Answers = {}
        ids = list(encoded)
        for start in range(0, len(ids), rows):
            part = ids[start : start + rows]
            width = max(len(encoded[id]) for id in part)
            tokens = torch.tensor([[0] * (width - len(encoded[id])) + encoded[id] for id in part])
            mask = torch.tensor([[0] * (width - len(encoded[id])) + [1] * len(encoded[id]) for id in part])
            with torch.inference_mode():
                given = engine.model.generate(
                    tokens, attention_mask=mask, do_sample=False, max_new_tokens=options.most, eos_token_id=stops,
                    pad_token_id=0,
                )  # fmt: skip
            found |= {id: until(row[width:].tolist(), stops) for id, row in zip(part, given, strict=True)}
        return found

    return timed(answers)


def continuous(options: argparse.Namespace) -> dict[str, Any]:
    """transformers' continuous batching, ``SLOTS`` requests at a time."""
    from transformers import GenerationConfig
    from transformers.generation.configuration_utils import ContinuousBatchingConfig

    engine, encoded = loaded(options, "float32")
    stops = list(engine.chat.stop_ids(engine.tokenizer))
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=options.most, eos_token_id=stops, pad_token_id=0
    )  # fmt: skip
    longest = max(map(len, encoded.values())) + options.most
    batching = ContinuousBatchingConfig(
        num_blocks=-(-longest // 256) * SLOTS, max_batch_tokens=4096, max_requests_per_batch=SLOTS,
        allow_block_sharing=False,
    )  # fmt: skip

    def answers() -> Answers:
        given = engine.model.generate_batch(
            list(encoded.values()), generation_config=settings, continuous_batching_config=batching
        )
        by_prompt = {tuple(output.prompt_ids): output.generated_tokens for output in given.values()}
        return {id: until(by_prompt[tuple(tokens)], stops) for id, tokens in encoded.items()}

    return timed(answers)


def vllm(options: argparse.Namespace) -> dict[str, Any]:
    """vLLM's completions endpoint, which takes the prompt's tokens; all requests at once. Its start is not counted."""
    import concurrent.futures
    import socket
    import urllib.request

    engine, encoded = loaded(options, "float32")
    stops = list(engine.chat.stop_ids(engine.tokenizer))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        os.environ[VLLM],
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(options.model),
        "--port",
        str(port),
    ]
    command += ["--dtype", "float32", "--served-model-name", "m", "--max-num-seqs", str(SLOTS), "--host", "127.0.0.1"]
    command += ["--generation-config", "vllm", "--gpu-memory-utilization", "0.1", "--enforce-eager"]
    url = f"http://127.0.0.1:{port}"

    def ask(item: tuple[str, list[int]]) -> tuple[str, list[int]]:
        body = {
            "model": "m", "prompt": item[1], "temperature": 0, "max_tokens": options.most, "stop_token_ids": stops,
            "return_token_ids": True,
        }  # fmt: skip
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/v1/completions", json.dumps(body).encode(), kind)
        with urllib.request.urlopen(request, timeout=3600) as reply:
            return item[0], until(json.loads(reply.read())["choices"][0]["token_ids"], stops)

    server = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr, start_new_session=True)
    try:
        while not answers_health(url):
            if server.poll() is not None:
                sys.exit("vLLM ended before it was healthy")
            time.sleep(0.5)

        def answers() -> Answers:
            with concurrent.futures.ThreadPoolExecutor(SLOTS) as pool:
                return dict(pool.map(ask, list(encoded.items())[:: -(-len(encoded) // VLLM_PROMPTS)]))

        return timed(answers)
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def answers_health(url: str) -> bool:
    """Whether a server answers /health."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def collected(options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Seeded answers through the path that ``evaluate`` and ``task=pairs`` take."""
    from lwexp.sample.collect import collect

    sample = sampling(options, temperature=1.0, repeats=options.repeats)
    collect(
        prompts_of(options), model=options.model, model_name="m", sample=sample, seed=0, out=options.out,
        workers=number,
    )  # fmt: skip
    return {}


def loaded(options: argparse.Namespace, number_format: str) -> tuple[Any, dict[str, list[int]]]:
    """The engine in a number format, and each prompt's tokens, in the order that sampling takes."""
    import torch

    from lwexp.sample.engine import TransformersEngine
    from lwexp.sample.requests import SampleRequest, longest_first

    torch.set_num_threads(1)
    engine = TransformersEngine(options.model)
    engine.model.to(getattr(torch, number_format))
    asked = longest_first(SampleRequest(prompt.id, prompt, 0) for prompt in prompts_of(options))
    return engine, {request.id: engine._encode(request.prompt) for request in asked}


def timed(work: Callable[[], Answers]) -> dict[str, Any]:
    """Answers, their tokens, and the seconds that they took."""
    began = time.perf_counter()
    answers = work()
    seconds = time.perf_counter() - began
    return {"answers": answers, "tokens": sum(map(len, answers.values())), "seconds": seconds}


def until(tokens: list[int], stops: list[int]) -> list[int]:
    """The tokens before the first stop."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in stops), len(tokens))]


def random_model(folder: Path) -> Path:
    """A Llama with random weights of a wide spread, so that every step has a clear winner."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lwexp.pack.tokenizer import save_tokenizer, train_tokenizer

    tokenizer = train_tokenizer(["Write about tea and rivers in ten words.", "请写一篇关于茶的文章。"], 300, "llama31")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=1024, initializer_range=0.3, pad_token_id=0,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


SYSTEMS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "ours": lambda options: ours(options, "float64"),
    "ours_float32": lambda options: ours(options, "float32"),
    "one_by_one": lambda options: generate(options, "float32", 1),
    "one_by_one_float64": lambda options: generate(options, "float64", 1),
    "generate": lambda options: generate(options, "float32", SLOTS),
    "continuous": continuous,
    "vllm_cpu": vllm,
    "workers_1": lambda options: collected(options, 1),
    "workers_2": lambda options: collected(options, 2),
}


if __name__ == "__main__":
    main()
