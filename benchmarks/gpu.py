"""Everything that only a GPU can tell, in under eight minutes on one H200: parity first, then speed and memory.

    python -m benchmarks.gpu            all sections
    python -m benchmarks.gpu attention logprobs
    python -m benchmarks.gpu --quick    tiny shapes; also what runs where there is no GPU, as a check of this script

Needs torch 2.11 or newer with CUDA and what pip install 'lwexp[gpu]' brings; TRL and flash_attn are compared with where
they are installed. Each section is a module benchmarks/gpu_<name>.py with ``run(place) -> Results``, started in a
process of its own with a time limit, so that a crash or a hang costs that section only. To add one, write the module
and its line in SECTIONS. The last line is JSON; the exit code is 1 if a section failed or a parity check was missed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module

import torch

from benchmarks.gpu_place import find_place
from benchmarks.output import Results, show

# Seconds a section may take; together under eight minutes.
SECTIONS = {"attention": 100, "logprobs": 80, "train_llama": 140, "train_glm": 140}


def main() -> int:
    """Run sections one after the other; with --section be one of them."""
    arguments = sys.argv[1:]
    quick = "--quick" in arguments
    if "--section" in arguments:
        section = import_module(f"benchmarks.gpu_{arguments[arguments.index('--section') + 1]}")
        print(json.dumps(section.run(find_place(quick))))
        return 0
    place = find_place(quick)
    print(
        f"torch {torch.__version__}, {place.name}"
        + ("" if place.is_cuda else ": CPU self-check, says nothing of a GPU")
    )
    chosen = [name for name in arguments if not name.startswith("-")] or list(SECTIONS)
    results: Results = {}
    failed = []
    for name in chosen:
        start = time.perf_counter()
        found, problem = run_section(name, quick)
        results.update({f"{name}/{case}": systems for case, systems in found.items()})
        print(f"{name}: {problem or 'done'}, {time.perf_counter() - start:.0f} s", flush=True)
        missed = [f"{case}/{system}" for case, systems in found.items() for system, numbers in systems.items()
                  if numbers.get("parity_ok", 1.0) != 1.0]  # fmt: skip
        if missed:
            print(f"{name}: PARITY MISSED: {', '.join(missed)}")
        if problem or missed:
            failed.append(name)
    show("gpu", results, ("torch", "transformers"))
    return 1 if failed else 0


def run_section(name: str, quick: bool) -> tuple[Results, str | None]:
    """Results of a section, and what went wrong if something did."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--section", name, *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECTIONS[name])
    except subprocess.TimeoutExpired:
        return {}, f"FAILED: took longer than {SECTIONS[name]} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {}, f"FAILED: {lines[-1]}"
    found: Results = json.loads(done.stdout.strip().splitlines()[-1])
    return found, None


if __name__ == "__main__":
    sys.exit(main())
