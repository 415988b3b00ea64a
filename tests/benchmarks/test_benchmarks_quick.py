"""Every benchmark runs in its quick form and ends with the one JSON line that machines read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def quick(bench, *sections):
    """The quick form of a benchmark, in a process of its own; the line that it ends with."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{bench}", "--quick", *sections],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

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


def test_the_gpu_script_checks_itself_on_a_cpu():
    """Through the code that runs on a GPU, less what only a GPU has; parity and equal losses are checked here too."""
    results = quick("gpu", "attention", "train_glm")["results"]
    assert results["attention/parity_glm"]["per_document"]["parity_ok"] == 1.0
    assert results["train_glm/many_short"]["transformers_trl_head"]["parity_ok"] == 1.0


def test_a_failing_gpu_section_is_reported_and_the_others_go_on(monkeypatch, capsys, tmp_path):
    """Sections in processes of their own, as in use: one that is missing, one that takes too long, and two that end."""
    from benchmarks import gpu

    sections = {
        "late": "import time; time.sleep(60)", "wrong": "return {'case': {'ours': {'parity_ok': 0.0}}}",
        "good": "return {'case': {'ours': {'parity_ok': 1.0}}}",
    }  # fmt: skip
    for name, body in sections.items():
        (tmp_path / f"gpu_{name}.py").write_text(f"def run(place):\n    {body}\n")
    start = f"import benchmarks; benchmarks.__path__.append({str(tmp_path)!r})\n"
    (tmp_path / "sitecustomize.py").write_text(start)  # which every new process runs first
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    monkeypatch.setattr(gpu, "SECTIONS", {"no_such_module": 60, "late": 8, "wrong": 60, "good": 60})
    monkeypatch.setattr(sys, "argv", ["gpu", "--quick"])

    assert gpu.main() == 1
    printed = capsys.readouterr().out
    assert "no_such_module: FAILED: ModuleNotFoundError: No module named 'benchmarks.gpu_no_such_module'" in printed
    assert "late: FAILED: took longer than 8 s" in printed
    assert "PARITY MISSED: case/ours" in printed
    assert "good: done" in printed
