"""One run, whoever starts its ranks: train.py itself, torchrun, or a submitit job that stands in for SLURM's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_packs import tiny_conversations

from lwexp.train.rowfile import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 6


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What follows ``python`` or ``torchrun``; the data are in a file, so nothing has to be generated first."""
    folder = tmp_path_factory.mktemp("launch")
    rows = [{"messages": [m.model_dump() for m in row.messages]} for row in tiny_conversations()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shape = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8, "vocab_size": 400,
        "max_position_embeddings": 512,
    }  # fmt: skip
    return [
        str(REPOSITORY / "train.py"), f"root={folder / 'runs'}", "name=launched", "hardware=cpu_zero3",
        "mixture=general", "~mixture.sources.drafts", f"mixture.sources.general.path={folder / 'rows.jsonl'}",
        "mixture.sources.general.count=null", *(f"model.shape.{name}={size}" for name, size in shape.items()),
        "pack.max_tokens=256", "objective.global_batch=2", f"objective.max_steps={STEPS}", "objective.epochs=20",
        "training.log_every_steps=1", "training.checkpoint_every_steps=1", "tracking=wandb_offline",
    ]  # fmt: skip


def environment() -> dict[str, str]:
    hidden = ("SLURM", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**mine, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def run_of(command: list[str]) -> Path:
    (run,) = Path(command[1].removeprefix("root=")).iterdir()
    return run


@pytest.fixture(scope="module")
def told(command: list[str]) -> Any:
    """``python train.py``: told to stop after the second step."""
    process = subprocess.Popen(
        [sys.executable, *command], env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    root = Path(command[1].removeprefix("root="))
    deadline = time.monotonic() + 240
    while not any(len(read_metrics(path)) >= 2 for path in root.glob("*/metrics.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err, json.loads((run_of(command) / "manifest.json").read_text())


def test_a_plain_command_starts_its_ranks_and_passes_sigterm_on(told: Any, command: list[str]) -> None:
    code, _, err, manifest = told
    assert code == 143, err
    assert manifest["status"] == "preempted"
    assert err.count("run the same command again to go on") <= 2
    assert "Traceback" not in err
    assert err.count("0 of 6 steps are done") == 1  # rank 0's; the other rank does not log


def test_torchrun_goes_on_with_the_same_run_and_submitit_finds_it_finished(told: Any, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", *command],
        env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    run = run_of(command)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert len(manifest["starts"]) == 2
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == list(range(1, STEPS + 1))
    assert done.stderr.count("of 6 steps are done") == 1
    tracked = [path.name for path in (run / "wandb").glob("offline-run-*")]
    assert len(tracked) >= 1
    assert all(name.endswith(run.name) for name in tracked), tracked  # one W&B run, a folder a start

    import submitit

    executor = submitit.AutoExecutor(folder=run.parent.parent / "submitit", cluster="local")
    executor.update_parameters(timeout_min=5)
    job = executor.submit(submitit.helpers.CommandFunction([sys.executable, *command], env=environment()))
    job.result()
    assert run_of(command) == run
    assert "finished" in job.stderr() + job.stdout()
    assert json.loads((run / "manifest.json").read_text())["starts"] == manifest["starts"]
