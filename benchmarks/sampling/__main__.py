"""Who samples fastest: lwexp's loop, transformers' two, or vLLM on the CPU; and what workers gain.

    python -m benchmarks.sampling runs/demo/long-*/model                     both cases
    python -m benchmarks.sampling MODEL --case workers                       only the workers; under two minutes
    LWEXP_VLLM_PYTHON=ENV/bin/python python -m benchmarks.sampling MODEL     also vLLM, from an environment of its own
    python -m benchmarks.sampling --quick                                    eight prompts, random weights

Case ``greedy``: the 64 prompts of the miniature bench, answered once by each system in a process of its own, on one
thread (vLLM takes what cores it finds). ``tokens_per_s`` starts when the model is loaded or the server is healthy;
``tokens_per_cpu_s`` counts CPU seconds, which depend less on what else runs. ``peak_mib`` is the resident memory of the
process and its children, or of the server alone. ``equal`` counts the answers whose tokens are those of transformers'
``generate`` with one prompt at a time in float64. ``ours`` is what a small model gets: float64, so that answers do not
depend on each other.

Case ``workers``: the same prompts, ``repeats`` seeded answers to each, with one worker and with two in turn.
``sampling_s`` starts with the first token, ``whole_s`` includes the workers' start; both are medians over the rounds.
``over_one`` is the sampling time divided by that of one worker. ``equal`` counts the answers whose bytes are those of
the first round with one worker; it is the lowest of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.output import Results, show
from benchmarks.sampling import loops, vllm_server, workers
from benchmarks.sampling.processes import in_own_process
from benchmarks.sampling.task import Task, random_model

REFERENCE = "one_by_one_float64"
SYSTEMS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "ours": lambda task: loops.ours(task, "float64"),
    "ours_float32": lambda task: loops.ours(task, "float32"),
    REFERENCE: lambda task: loops.generate(task, "float64", 1),
    "generate": lambda task: loops.generate(task, "float32", len(task.prompts())),
    "continuous": loops.continuous,
    "vllm_cpu": vllm_server.answers,
    "workers": workers.compare,
}


def main() -> None:
    """Run every system in a process of its own, or the one that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=4, help="answers to each prompt in case workers")
    parser.add_argument("--rounds", type=int, default=3, help="of case workers; each has one worker, then two")
    parser.add_argument("--most", type=int, default=1200, help="sample.max_new_tokens")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", nargs="+", choices=("greedy", "workers"), default=("greedy", "workers"))
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model is None and not options.quick:
        parser.error("which model? give a folder, or --quick")
    with tempfile.TemporaryDirectory() as folder:
        if options.quick and not options.system:
            options.most, options.repeats, options.rounds = 24, 2, 1
            options.model = options.model or random_model(Path(folder) / "model")
        task = Task(options.model, options.most, options.repeats, options.rounds, is_quick=options.quick)
        if options.system:
            json.dump(SYSTEMS[options.system](task), sys.stdout)
            return
        results: Results = {}
        if "greedy" in options.case:
            results["greedy"] = greedy(task)
        if "workers" in options.case:
            results["workers"] = in_own_process("workers", task)["systems"]
    show("sampling", results, packages=("torch", "transformers"))


def greedy(task: Task) -> dict[str, dict[str, float]]:
    """Each system's speed, memory and agreement."""
    wanted = in_own_process(REFERENCE, task)["answers"]
    names = ["ours", "ours_float32", "generate", "continuous"]
    if vllm_server.PYTHON in os.environ:
        names.append("vllm_cpu")
    found: dict[str, dict[str, float]] = {}
    for name in names:
        told = in_own_process(name, task)
        found[name] = {
            "tokens_per_s": told["tokens"] / told["seconds"],
            "tokens_per_cpu_s": told["tokens"] / told["cpu_s"],
            "seconds": told["seconds"],
            "peak_mib": told["peak_mib"],
            "equal": sum(answer == wanted[id] for id, answer in told["answers"].items()),
            "answers": len(told["answers"]),
        }
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)  # a later system may fail
    return found


if __name__ == "__main__":
    main()
