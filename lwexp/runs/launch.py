"""Starting the ranks of a run: one process a device, as torchrun would, from a plain ``python train.py``.

Three ways lead to the same environment (RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT):

    torchrun train.py ...                      has set it
    srun, one task a device                    has SLURM's own variables, translated here
    python train.py ..., or srun with one      starts the ranks of its node as children and waits for them
      task a node

The process that waits imports nothing heavy, passes SIGTERM on, ends all ranks when one has died, and exits as rank 0
does. Children are killed with it, even by ``kill -9``: the kernel sees to that.
"""

import ctypes
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

from lwexp.records import LwexpError

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""What a scheduler sends before it kills: SIGTERM, or what ``sbatch --signal`` and submitit were told to send."""

_PR_SET_PDEATHSIG = 1
_SI_KERNEL = 0x80
"""Sender of a Ctrl-C in a terminal, which reaches all ranks by itself; ``kill -INT`` has another."""

_GRACE_SECONDS = 20.0
_POLL_SECONDS = 0.1


def start_ranks(devices: int, num_nodes: int) -> int | None:
    """Make this process a rank, or start the ranks of this node and wait for them.

    Args:
        devices: Ranks of a node.
        num_nodes: Nodes of the job.

    Returns:
        None in a rank, which goes on. In a process that has started ranks their exit code: that of rank 0, or 1
        if another one died first.

    Raises:
        LwexpError: If several nodes are wanted and nothing says who the others are.
    """
    environment = rank_environment(os.environ, devices)
    if environment is not None:
        os.environ.update(environment)
        return None
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if num_nodes > 1 and tasks != num_nodes:
        raise LwexpError(
            f"hardware.num_nodes={num_nodes}: one process cannot start ranks on other nodes; use srun in a job of "
            f"{num_nodes} nodes, or on each node: torchrun --nnodes={num_nodes} --nproc_per_node={devices} "
            f"--rdzv_backend=c10d --rdzv_endpoint=<first node>:29500 {' '.join(sys.argv)}"
        )
    node = int(os.environ.get("SLURM_NODEID", "0")) if num_nodes > 1 else 0
    address = _first_host(os.environ["SLURM_STEP_NODELIST"]) if num_nodes > 1 else "127.0.0.1"
    port = _job_port(os.environ["SLURM_JOB_ID"]) if num_nodes > 1 else _free_port()
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
    """torchrun's variables of this process if something has started it as one rank of several; None if not."""
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        return {}
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    nodes = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    if tasks <= 1 or (tasks == nodes and devices > 1):
        return None
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": str(tasks),
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(tasks // nodes),
        "MASTER_ADDR": _first_host(environment["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(_job_port(environment["SLURM_JOB_ID"])),
    }


def _first_host(nodes: str) -> str:
    """First name of a SLURM node list: ``gpu[03-05,9],login1`` gives ``gpu03``."""
    name = re.match(r"([^,\[]+)(?:\[(\d+))?", nodes)
    assert name is not None, nodes
    return name[1] + (name[2] or "")


def _job_port(job: str) -> int:
    """A port that the ranks of a job agree on without talking, and that another job on the node hardly has."""
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
    """Runs in the child before its program: when the parent ends, however it ends, the kernel kills the child."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(children: list[subprocess.Popen[bytes]], first_rank: int) -> int:
    """Wait for all ranks, pass signals on, end all when one has died. Returns the exit code of the job."""

    def pass_on(number: int, _: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOP_SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # taken below, where its sender can be seen
    try:
        while True:
            codes = [child.poll() for child in children]  # all of them: one that waits must not hide one that died
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
    """Some rank has failed or all have ended: give the others time to end by themselves, then kill them."""
    deadline = time.monotonic() + _GRACE_SECONDS
    first = next((number for number, child in enumerate(children) if child.returncode not in (None, 0)), None)
    # A rank that was told to stop waits for the others to be told too, and saving takes as long as it takes.
    while any(child.poll() is None for child in children) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()
    if first is None:
        return 0
    code = children[first].returncode
    if code == -signal.SIGTERM:  # before it could listen for signals
        return 128 + signal.SIGTERM
    if code < 0:
        log.error(
            "rank %d was killed by %s; the other ranks were ended", first_rank + first, signal.Signals(-code).name
        )
        return 1
    return code
