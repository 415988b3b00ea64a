"""Every benchmark runs in its quick form and ends with the one JSON line that machines read."""

import json
import subprocess
import sys

import pytest

from tests import ROOT, forked

pytestmark = pytest.mark.slow

# The first measures without litellm being imported, the second whole processes' memory.
START_PYTHON = ("teacher", "dpo_memory")


def quick(bench):
    """The quick form of a benchmark, in a process of its own; the line that it ends with."""
    command = [sys.executable, "-m", f"benchmarks.{bench}", "--quick"]
    if bench in START_PYTHON:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    else:
        done = forked.run(command, also_its_own=True)

    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("bench", "cases"),
    [
        ("packing", {"mixed_186k", "long_only_6k", "balance_8_ranks"}),
        ("data_prep", {"20k_rows", "200k_rows"}),
        ("attention", {"few_long", "mixed", "many_short"}),
        ("logprobs", {"8k_x_64k"}),
        ("teacher", {"latency_2s_64", "overload_1s", "replay"}),
    ],
)
def test_a_quick_benchmark_prints_its_cases_with_ours_first(bench, cases):
    line = quick(bench)
    assert line["bench"] == bench
    assert set(line["results"]) == cases
    assert {"bench", "results", "versions", "machine"} == set(line)
    for systems in line["results"].values():
        assert next(iter(systems)) == "ours"


def test_two_passes_take_the_memory_of_sft_and_one_pass_takes_more():
    """What a step adds to a process: nearly SFT's on one answer, where one pass (the control) holds both answers."""
    [pair] = quick("dpo_memory")["results"].values()
    assert pair["ours"]["peak_mib_over_sft"] < 1.15
    assert pair["ours"]["step_mib_over_sft"] < 1.3 < pair["dpo_one_pass"]["step_mib_over_sft"]
