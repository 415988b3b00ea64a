"""Starts the ranks of a run: one process per device, as torchrun does, from a plain ``python train.py``.

Three ways to start a run give the same environment (RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR,
MASTER_PORT):

    torchrun train.py ...                      has set it
    srun, one task per device                  sets SLURM's variables, translated here
    python train.py ..., or srun with one      starts the ranks of its node as children and waits for them
      task a node

The waiting process imports nothing heavy, forwards SIGTERM, stops all ranks when one has died, and exits with the code
of the first failed rank, or 0. The kernel kills its children with it, even after ``kill -9``.
"""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from types import FrameType

from lwexp.records import LwexpError, heard_signals
from lwexp.records.children import signal_when_parent_dies
from lwexp.runs.ranks import number_of

log = logging.getLogger(__name__)

_SI_KERNEL = 0x80
"""Sender (``si_code``) of a Ctrl-C in a terminal, which reaches all ranks by itself; that of ``kill -INT`` differs."""

_GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.1


def start_ranks(devices: int, num_nodes: int) -> int | None:
    """Make this process a rank, or start the ranks of this node and wait for them.

    Args:
        devices: Ranks per node.
        num_nodes: Nodes of the job.

    Returns:
        None in a rank, which continues. In the process that started the ranks, their exit code: 0 if all
        ended well, else that of the first failed rank, or 1 if a signal killed it.

    Raises:
        LwexpError: If there are several nodes and the environment does not name the others.
    """
    environment = rank_environment(os.environ, devices)
    if environment is not None:
        os.environ.update(environment)
        return None
    tasks = number_of(os.environ, "SLURM_STEP_NUM_TASKS")
    if num_nodes > 1 and tasks != num_nodes:
        raise LwexpError(
            f"hardware.num_nodes={num_nodes}: one process cannot start ranks on other nodes; use srun in a job of "
            f"{num_nodes} nodes, or on each node: torchrun --nnodes={num_nodes} --nproc_per_node={devices} "
            f"--rdzv_backend=c10d --rdzv_endpoint=<first node>:29500 {' '.join(sys.argv)}"
        )
    node = number_of(os.environ, "SLURM_NODEID", 0, least=0) if num_nodes > 1 else 0
    address = first_host(os.environ["SLURM_STEP_NODELIST"]) if num_nodes > 1 else "127.0.0.1"
    port = job_port(os.environ["SLURM_JOB_ID"]) if num_nodes > 1 else _free_port()
    shared = {
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(devices * num_nodes),
        "LOCAL_WORLD_SIZE": str(devices),
    }
    if num_nodes == 1 and devices == 1:
        os.environ.update(shared | {"RANK": "0", "LOCAL_RANK": "0"})
        return None
    if num_nodes == 1:
        shared.setdefault("GLOO_SOCKET_IFNAME", os.environ.get("GLOO_SOCKET_IFNAME", "lo"))
    return _watch([_start(shared, node * devices + local, local) for local in range(devices)], node * devices)


def rank_environment(environment: Mapping[str, str], devices: int) -> dict[str, str] | None:
    """torchrun's variables for this process if it was started as one rank of several; else None."""
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return {}
    tasks = number_of(environment, "SLURM_STEP_NUM_TASKS")
    nodes = number_of(environment, "SLURM_STEP_NUM_NODES")
    if tasks <= 1 or (tasks == nodes and devices > 1):
        return None
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "MASTER_ADDR": first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(job_port(environment["SLURM_JOB_ID"])),
    }


def first_host(nodes: str) -> str:
    """First name of a SLURM node list: ``gpu[03-05,9],login1`` gives ``gpu03``."""
    name = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    assert name is not None, nodes
    return name[1] + (name[2] or "")


def job_port(job: str) -> int:
    """A port that all ranks derive from the job id, and that another job on the node is unlikely to use."""
    return 15_000 + int(job) % 10_000


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _start(shared: Mapping[str, str], rank: int, local: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(local)}
    command = [sys.executable, *sys.orig_argv[1:]]
    return subprocess.Popen(command, env=environment, preexec_fn=_die_with_parent)


def _die_with_parent() -> None:
    """Run in the child before its program: the kernel kills the child when the parent ends, however it ends."""
    signal_when_parent_dies(signal.SIGKILL)


def _watch(children: list[subprocess.Popen[bytes]], first_rank: int) -> int:
    """Wait for all ranks, forward signals, stop all when one has died. Returns the exit code of the job."""

    def pass_on(number: int, _: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in heard_signals()}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # handled below, where its sender is known
    try:
        while True:
            codes = [child.poll() for child in children]  # poll all: a waiting rank must not hide one that died
            if None not in codes or any(codes):
                return _end(children, first_rank)
            told = signal.sigtimedwait({signal.SIGINT}, _POLL_SECONDS)
            if told is not None and told.si_code != _SI_KERNEL:
                pass_on(signal.SIGINT, None)
    finally:
        while signal.sigtimedwait({signal.SIGINT}, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(children: list[subprocess.Popen[bytes]], first_rank: int) -> int:
    """A rank has failed or all have ended: give the others time to end by themselves, then kill them."""
    deadline = time.monotonic() + _GRACE_SECONDS
    first = next((number for number, child in enumerate(children) if child.returncode not in (None, 0)), None)
    # A rank with a stop signal waits until the others have it too, and the time for saving is not limited.
    while any(child.poll() is None for child in children) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    if first is None:
        return 0
    code = children[first].returncode
    if code == -signal.SIGTERM:  # before it could install its signal handlers
        return 128 + signal.SIGTERM
    if code < 0:
        log.error(
            "rank %d was killed by %s; the other ranks were stopped", first_rank + first, signal.Signals(-code).name
        )
        return 1
    return code
