"""Every mistake in the table answers in one line that names the key and its fix, exit code 2, no traceback."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lwexp.config.folders import CONF
from tests import forked

REPOSITORY = Path(__file__).resolve().parents[2]

# script, what is typed, what the one line must contain
MISTAKES = [
    ("train", ["modle=glm4"], ["modle", "did you mean model?"]),
    ("train", ["model=glm5"], ["model=glm5", "glm4", "llama31"]),
    ("train", ["lr=3"], ["lr: no such key", "objective.optimizer.lr"]),
    ("train", ["objective.optimizer.lr=-1"], ["objective.optimizer.lr", "greater than 0", "got -1"]),
    ("train", ["objective.optimizer.lr=fast"], ["objective.optimizer.lr", "valid number", "fast"]),
    ("train", ["objective.epochs=2.5"], ["objective.epochs", "valid integer", "got 2.5"]),
    ("train", ["objective.global_batch=0"], ["objective.global_batch", "greater than or equal to 1"]),
    ("train", ["model.shape.hidden=64"], ["model.shape.hidden", "model.shape.hidden_size"]),
    ("train", ["pack.overflow=truncate"], ["pack.overflow", "'error' or 'drop'", "truncate"]),
    ("train", ["+foo=1"], ["foo: no such key"]),
    ("train", ["name=../x"], ["name", "../x"]),
    ("train", ["seed"], ["seed", "key=value"]),
    (
        "train",
        ["experiment=miniature", "objective=dpo"],
        ["objective=dpo: experiment=miniature sets objective.epochs", "objective.optimizer.lr", "for objective=sft"],
    ),
    (
        "train",
        ["bench=longbench_write", "experiment=smoke"],
        ["bench=longbench_write: experiment=smoke sets bench.required_words, bench.topics for bench=miniature"],
    ),
    ("train", ["experiment=miniature_dpo", "mixture=general", "teacher=gpt4o"], ["does not read teacher"]),
    ("generate_data", ["experiment=miniature_dpo", "teacher=gpt4o"], ["sets teacher.paragraph_words for teacher=off"]),
    ("generate_data", ["experiment=smoke", "instructions=file"], ["sets generate.instructions.count"]),
    (
        "train",
        ["-m", "+sweeps=miniature/output_cap", "bench=miniature", "model=glm4", "bench=jsonl", "dry_run=true"],
        ["bench=jsonl: sweeps="],
    ),
    ("train", ["task=pairs"], ["train.py does not read task", "generate_data.py"]),
    ("train", ["hardware=zero2_8x80g", "hardware.offload_parameters=true"], ["hardware.stage=3", "whole weights"]),
    ("train", ["hardware=zero2_8x80g", "hardware.offload_optimizer=0.5"], ["got 0.5", "Twin-Flow", "0 or 1"]),
    ("train", ["hardware=zero3_8x80g", "hardware.offload_optimizer=0.5"], ["got 0.5", "hardware=gpu1_141g"]),
    ("train", ["hardware=gpu1_141g", "hardware.precision=32-true"], ["hardware.moments", "bf16"]),
    ("train", ["hardware=cpu_zero3", "hardware.offload_parameters=true"], ["nothing to offload to"]),
    ("train", ["model.init=pretrained"], ["model.path", "model.path=<folder>"]),
    (
        "train",
        ["mixture.sources.drafts.min_words=50", "mixture.sources.drafts.max_words=20"],
        ["mixture.sources.drafts", "min_words=50 is above max_words=20"],
    ),
    ("generate_data", ["task=import"], ["source", "task=import needs a file"]),
    ("generate_data", ["task=import", "source=nowhere.json"], ["nowhere.json", "does not exist"]),
    ("generate_data", ["teacher.limits.concurrency=-4"], ["teacher.limits.concurrency", "got -4"]),
    ("generate_data", ["pairs.n=1"], ["pairs.n", "greater than or equal to 2"]),
    ("evaluate", ["sample.temperature=0", "sample.repeats=3"], ["temperature=0", "sample.repeats=1"]),
    ("evaluate", ["bench=longbench"], ["bench=longbench", "longbench_write"]),
    ("evaluate", ["responses=nowhere.jsonl"], ["nowhere.jsonl", "does not exist"]),
    ("evaluate", ["run=never_trained", "root=/nonexistent_root"], ["run=never_trained", "train.py"]),
]


@pytest.mark.parametrize(("script", "typed", "wanted"), MISTAKES, ids=[" ".join([row[0], *row[1]]) for row in MISTAKES])
def test_a_mistake_is_one_line_with_its_fix(script, typed, wanted):
    done = run(script, *typed)

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for fragment in wanted:
        assert fragment in lines[0]


def test_a_typo_inside_a_yaml_file_is_named(tmp_path):
    """Hydra alone accepts it: struct mode guards the command line only."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "typo.yaml").write_text("# @package _global_\npack:\n  max_tokns: 64\n")

    done = run("train", "--config-dir", str(tmp_path), "experiment=typo")

    assert done.returncode == 2
    assert "pack.max_tokns: no such key; did you mean pack.max_tokens?" in done.stderr


def test_an_experiment_without_package_global_is_refused(tmp_path):
    """Without the directive its values land under ``experiment:`` and would change nothing."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "lost.yaml").write_text("seed: 7\n")

    done = run("train", "--config-dir", str(tmp_path), "experiment=lost")

    assert done.returncode == 2
    assert "experiment" in done.stderr


def test_all_mistakes_are_reported_at_once():
    done = run("train", "objective.epochs=0", "pack.max_tokens=1")

    assert "objective.epochs" in done.stderr
    assert "pack.max_tokens" in done.stderr


def test_the_table_would_notice_a_command_without_a_mistake():
    """Negative control: ``--cfg job`` of a right command exits with 0 and prints the config."""
    done = run("train", "--cfg", "job")

    assert done.returncode == 0
    assert "max_tokens: 32768" in done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["modle=glm4"]])
def test_help_config_and_mistakes_answer_without_torch(arguments):
    """About a second: the seconds are printed, what is asserted is that no heavy package is imported."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "train.py", *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(f"{arguments}: {time.perf_counter() - start:.2f} s")

    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines() if "import time:" in line}
    assert "omegaconf" in imported or "--help" in arguments
    assert not imported & {"torch", "transformers", "lightning", "litellm", "wandb", "datasets", "matplotlib"}


GROUPS_THERE = {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "sweeps"}
GROUPS = {
    "generate_data": "engine experiment filter hardware instructions judge model teacher",
    "train": "bench engine experiment hardware judge mixture model objective tracking",
    "evaluate": "bench engine experiment hardware judge model tracking",
}


@pytest.mark.parametrize("script", ["train", "generate_data", "evaluate"])
def test_help_has_commands_to_copy_and_every_choice_of_the_groups_it_reads(script):
    text = run(script, "--help").stdout

    assert 4 <= text.count(f"\npython {script}.py") <= 7  # generate_data.py has one for each task
    listed = [
        line.split()[0] for line in text.splitlines() if line.startswith("  ") and line.split()[0] in GROUPS_THERE
    ]
    assert sorted(set(listed)) == GROUPS[script].split()
    for group in GROUPS[script].split():
        for choice in (CONF / group).glob("*.yaml"):
            assert f"    {choice.stem} " in text


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, f"{script}.py", *arguments], timeout=60)


@pytest.mark.parametrize("words", ["--help", "--cfg job"])
def test_a_reader_that_leaves_early_is_no_error(words):
    """As in ``python train.py --help | head -1``; 141 is what shells call an end by SIGPIPE."""
    command = f"{sys.executable} train.py {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_is_a_fault():
    """Negative control: standard output has its reader, so what broke is something of ours."""
    script = (
        "from lwexp.config import cli\n"
        "def broken(*_): raise BrokenPipeError('elsewhere')\n"
        "cli._with_hydra = broken\n"
        "cli.run_script('train', print)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "BrokenPipeError: elsewhere" in done.stderr
