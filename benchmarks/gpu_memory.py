"""Predicted and measured peak memory of real training steps on one GPU; benchmarks.gpu is a shorter check.

    python -m benchmarks.gpu_memory        two runs on an H200 (139 GiB)

Each case is a run of train.py in its own process, with random weights of full width and few steps, so the measurement
includes DeepSpeed's buckets, the optimiser and fragmentation. It has not been run, because no GPU was available.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.output import Results, show
from lwexp.config import compose
from lwexp.config.train import Auto
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.planner.memory import plan_memory

CASES = {
    "glm4_8_layers_32k": ["model=glm4", "model.shape.num_hidden_layers=8", "hardware=gpu1", "pack.max_tokens=32768"],
    "llama31_8_layers_64k": [
        "model=llama31",
        "model.shape.num_hidden_layers=8",
        "hardware=gpu1",
        "pack.max_tokens=65536",
    ],
}
COMMON = ["model.init=random", "model.tokenizer=train", "objective.max_steps=3", "objective.global_batch=1"]

# Runs train.py's own main and then prints the allocator's peaks. The reserved memory is what must fit.
_RUN = """
import runpy, sys, json, torch
sys.argv = ["train.py", *json.loads(sys.argv[1])]
try:
    runpy.run_path("train.py", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps({"reserved": torch.cuda.max_memory_reserved(), "allocated": torch.cuda.max_memory_allocated()}))
"""


def memory_section() -> Results:
    """Case -> planned and measured GiB, and their ratio; the plan is good if the ratio is between 0.9 and 1.1."""
    results: Results = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "generate_data.py", f"root={folder}", "generate.instructions.count=400"], check=True
        )
        for case, overrides in CASES.items():
            results[case] = {"ours": _measure(case, [*overrides, *COMMON], Path(folder))}
    return results


def _measure(case: str, overrides: list[str], root: Path) -> dict[str, float]:
    words = [*overrides, f"root={root}", f"name={case}"]
    done = subprocess.run([sys.executable, "-c", _RUN, json.dumps(words)], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    config = compose(*overrides)
    assert not isinstance(config.hardware, Auto)
    planned = plan_memory(model_sizes(config.model), config.hardware, config.pack.max_tokens).device_gib
    reserved = measured["reserved"] / 2**30
    return {"planned_gib": planned, "reserved_gib": reserved, "ratio": planned / reserved}


if __name__ == "__main__":
    show("gpu_memory", memory_section(), ("torch", "deepspeed"))
