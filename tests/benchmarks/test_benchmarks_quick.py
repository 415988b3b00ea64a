"""Every benchmark runs in its quick form and ends with the one JSON line that machines read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("bench", "cases"),
    [("packing", {"mixed_186k", "long_only_6k", "balance_8_ranks"}), ("data_prep", {"20k_rows", "200k_rows"})],
)
def test_a_quick_benchmark_prints_its_cases_with_ours_first(bench, cases):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{bench}", "--quick"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout.strip().splitlines()[-1])
    assert line["bench"] == bench
    assert set(line["results"]) == cases
    assert {"bench", "results", "versions", "machine"} == set(line)
    for systems in line["results"].values():
        assert next(iter(systems)) == "ours"
