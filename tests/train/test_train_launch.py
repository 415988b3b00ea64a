"""One run, whoever starts its ranks: train.py itself, torchrun, or a submitit job that stands in for SLURM's.

The processes are forked, because eight of them would import the libraries for a minute; the starters do what they do
with Python itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from lwexp.runs.summaries import read_metrics
from tests import forked
from tests.train.tiny_packs import tiny_conversations

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = 12


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


def start_and_stop(start: list[str], command: list[str], after: int) -> tuple[int, str]:
    """Start, and send SIGTERM once that many steps are done; gives the exit code and stderr."""
    process = forked.Process([*start, *command], env=environment(), also_its_own=True)
    root = Path(command[1].removeprefix("root="))
    deadline = time.monotonic() + 240
    while not any(len(read_metrics(path)) >= after for path in root.glob("*/metrics.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=120)[1]
    assert process.returncode is not None
    return process.returncode, err


def status(command: list[str]) -> tuple[str, int]:
    """Of the one run there is, and how often it was started."""
    manifest = json.loads((run_of(command) / "manifest.json").read_text())
    return manifest["status"], len(manifest["starts"])


def test_three_ways_of_starting_go_on_with_one_run(command: list[str]) -> None:
    """Stopped under ``python train.py``, stopped again under torchrun, done in the job. Only rank 0 logs."""
    code, err = start_and_stop([sys.executable], command, after=2)
    assert code == 143, err
    assert status(command) == ("preempted", 1)
    assert "Traceback" not in err
    assert err.count("run the same command again to go on") <= 2
    assert err.count(f"0 of {STEPS} steps done") == 1

    done = len(read_metrics(run_of(command) / "metrics.jsonl"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    code, err = start_and_stop(torchrun, command, after=done + 1)
    assert code != 0
    assert status(command) == ("preempted", 2), err
    assert err.count(f"{done} of {STEPS} steps done") == 1

    import submitit

    done = len(read_metrics(run_of(command) / "metrics.jsonl"))
    executor = submitit.AutoExecutor(folder=run_of(command).parent.parent / "submitit", cluster="local")
    executor.update_parameters(timeout_min=5)
    job = executor.submit(submitit.helpers.CommandFunction([forked.python(), *command], env=environment()))
    job.result()
    assert (job.stderr() + job.stdout()).count(f"{done} of {STEPS} steps done") == 1
    assert status(command) == ("finished", 3)
    run = run_of(command)
    assert [row["step"] for row in read_metrics(run / "metrics.jsonl")] == list(range(1, STEPS + 1))
    tracked = [path.name for path in (run / "wandb").glob("offline-run-*")]
    assert len(tracked) == 3  # a folder a start, of one W&B run
    assert all(name.endswith(run.name) for name in tracked), tracked
