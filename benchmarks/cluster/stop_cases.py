"""Cases of runs that are stopped: preempted, cancelled, out of time, or without power."""

import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.cluster.case import (
    Case,
    node,
    resumed,
    slurm,
    start_at_once,
    state_of,
    wait_for,
    wait_for_requeue,
)
from lwexp.config.folders import REPOSITORY

_NOTICED_SECONDS = 120.0
"""A node without power is noticed within this time."""
_LONG = "objective.epochs=20000"  # longer than every case, also on idle cores


def two_nodes(case: Case) -> None:
    """A trial of two nodes, one rank each, ends in a table and a comparison."""
    where = ["hydra.launcher.nodes=2", "hydra.launcher.processes=1", "hardware=cpu_zero3", "hardware.num_nodes=2"]
    said = case.sweep("two", *where, "hardware.devices=1", "objective.optimizer.lr=1e-3")
    (trial,) = case.trials("two")
    assert (trial["status"], trial["exit_code"]) == ("finished", 0), trial
    assert trial["runs"], trial
    assert "1 trial = 1 finished" in said, said[-500:]


def preemption(case: Case) -> None:
    """A job of higher priority takes the nodes: the run saves, is requeued and continues."""
    _is_preempted(case, "low", "tracking=none")


def preemption_wandb(case: Case) -> None:
    """The same with W&B offline, whose background process SLURM ends as well. Each start leaves a file."""
    _is_preempted(case, "lowwandb", "tracking=wandb_offline")
    assert len(list(case.folder.glob("runs/lowwandb-*/wandb/offline-run-*"))) == 2


def _is_preempted(case: Case, name: str, *settings: str) -> None:
    job = case.detached(name, *settings, _LONG, "hydra.launcher.partition=spot")
    case.wait_for_steps(name, 3)
    high = slurm(
        "sbatch", "--parsable", "--partition=prio", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 5"
    )
    wait_for("the save", lambda: "; saved" in case.log(name), 120)
    wait_for("the requeue", lambda: state_of(job) in ("PENDING", "REQUEUED"), 120)
    before = case.steps(name)
    slurm("scancel", high)
    start_at_once(job)
    case.wait_for_steps(name, before + 1)
    assert resumed(case.log(name)), case.log(name)[-1500:]
    case.cancel(name, job)


def cancelled_running(case: Case) -> None:
    """``scancel`` of a running trial: it saves, is not requeued, and has failed in SLURM's word."""
    job = case.detached("stopped", _LONG)
    case.wait_for_steps("stopped", 3)
    slurm("scancel", job)
    case.run("sweep", "wait", case.sweep_folder("stopped"), code=1)
    (trial,) = case.trials("stopped")
    assert trial["reason"].startswith("CANCELLED"), trial
    assert "; saved" in case.log("stopped"), case.log("stopped")[-1500:]
    assert not state_of(job)


def time_limit(case: Case) -> None:
    """USR2 before the limit, which SLURM may send half a minute early: the run saves, is requeued and goes on."""
    job = case.detached("limit", _LONG, "hydra.launcher.save_seconds=60", minutes=4)
    case.wait_for_steps("limit", 1)
    wait_for("the save", lambda: "SIGUSR2: the job is queued again" in case.log("limit"), 270)
    start_at_once(job)
    wait_for("the resumed run", lambda: resumed(case.log("limit")), 240)
    case.cancel("limit", job)


def node_without_power(case: Case) -> None:
    """The node of a trial loses its power: SLURM notices, and the trial goes on on the other node."""
    job = case.detached("power", _LONG, "training.checkpoint_every_steps=1")
    case.wait_for_steps("power", 3)
    number = int(slurm("squeue", "-h", "-j", job, "-o", "%N").removeprefix("node"))
    subprocess.run(node("power-off", number), check=True)
    try:
        start_at_once(job)
        wait_for("the other node", lambda: state_of(job) == "RUNNING", 120)
        assert slurm("squeue", "-h", "-j", job, "-o", "%N") == f"node{3 - number}"
        wait_for("the resumed run", lambda: resumed(case.log("power")), 180)
    finally:
        subprocess.run(node("power-on", number), check=True)
    case.cancel("power", job)
    wait_for("both nodes", lambda: slurm("sinfo", "-h", "-N", "-p", "main", "-o", "%t").split() == ["idle"] * 2, 90)


def torchrun_without_power(case: Case) -> None:
    """torchrun over two nodes, of which one loses its power: the other one ends in time, with one line and no pages."""
    train = ["train", "experiment=smoke", "name=dead", "hardware=cpu_zero3", "hardware.num_nodes=2", _LONG]
    torchrun = [sys.executable, "-m", "lwexp.train.parallel.torchrun", "--nnodes=2", "--nproc_per_node=1"]
    meeting = ["--rdzv_backend=c10d", "--rdzv_endpoint=node1:29500", "--rdzv_id=dead", "-m", "lwexp"]
    words = [*torchrun, *meeting, *train, "hardware.devices=1", "training.checkpoint_every_steps=1"]
    log = case.folder / "node1.log"
    with ExitStack() as stack:
        out = stack.enter_context(log.open("w"))
        first = stack.enter_context(case.started(*node("on", 1, *words), stdout=out, stderr=out))
        stack.enter_context(case.started(*node("on", 2, *words)))
        case.wait_for_steps("dead", 2)
        subprocess.run(node("power-off", 2), check=True)
        stack.callback(subprocess.run, node("power-on", 2), check=True)
        seconds = wait_for("the end of node 1", lambda: first.poll() is not None, _NOTICED_SECONDS)
    said = log.read_text()
    print(f"  node 1 ended {seconds:.0f} s after node 2 had lost its power", flush=True)
    assert re.search(r"^error: node2 does not answer any more", said, flags=re.MULTILINE), said[-3000:]
    assert "Traceback" not in said, said[-3000:]
    assert first.returncode != 0


def training_script(case: Case) -> None:
    """The batch script of docs/training.md on two nodes: told to save, it is requeued, goes on and is told again.

    It waits SLURM's two minutes: when a rank has exited, srun ends the others (``--kill-on-bad-exit=1``). If one of
    them takes over 10 seconds to exit, SLURM repeats the signal after a minute, and would end a start made at once.
    """
    script = _script_of_the_docs()
    path = case.folder / "train.sbatch"
    path.write_text(f"#!/bin/bash\n{script}\n")
    output = [f"--chdir={case.folder}", f"--output={case.folder}/script.log", "--open-mode=append"]
    job = slurm("sbatch", "--parsable", *output, str(path))
    log = case.folder / "script.log"
    for start in range(2):
        before = case.steps("script")
        case.wait_for_steps("script", before + 3, 420)
        slurm("scancel", "--signal=USR1", job)
        wait_for("the save", lambda: log.read_text().count("SIGUSR1 at step") > start, 120)  # noqa: B023
        wait_for_requeue(job)
    slurm("scancel", job)
    starts = [int(step) for step in re.findall(r"training tiny_glm: (\d+) of", log.read_text())]
    assert [step > 0 for step in starts][:2] == [False, True], log.read_text()[-3000:]


def _script_of_the_docs() -> str:
    """The script in docs/training.md, with this machine's GPUs (none), Python and a miniature."""
    text = (Path(REPOSITORY) / "docs" / "training.md").read_text()
    (script,) = re.findall(r"```\n(#SBATCH --nodes=2.*?)\n```", text, flags=re.DOTALL)
    changes = {
        " --gpus-per-node=8": " --time=60",
        "python train.py model=glm4 hardware=multinode objective.global_batch=16": (
            f"{sys.executable} {REPOSITORY}/train.py experiment=smoke name=script hardware=cpu_zero3 "
            f"hardware.num_nodes=2 hardware.devices=1 {_LONG}"
        ),
    }
    for documented, here in changes.items():
        assert documented in script, f"docs/training.md has no {documented!r} in its batch script"
        script = script.replace(documented, here)
    return str(script)
