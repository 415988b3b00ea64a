"""The ranks of a run before training starts: rank 0 prepares and publishes the results, the others wait.

Only rank 0 resolves names such as "newest", opens the run and packs. A rank that resolved such a name itself might pick
a run that finished in the meantime, and if each of eight ranks packed, 200,000 conversations would be read eight
times.
"""

import logging
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from lwexp.config.train import Hardware, Zero
from lwexp.records import LwexpError
from lwexp.runs.ranks import is_rank_zero
from lwexp.train.parallel.node_link import link_nodes

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


class SingleProcess:
    """Stands in for ``RankGroup`` in a run of one process, where there are no other ranks."""

    def publish(self, what: str, value: str) -> None:
        pass

    def wait_for(self, what: str) -> str | None:
        return None

    def leave(self) -> None:
        pass


class RankGroup:
    """Messages from rank 0 to the other ranks, through the key-value store that their process group also uses.

    Waiting for a message has no time limit, unlike a collective: packing 200,000 rows takes longer than NCCL's ten
    minutes. If rank 0 dies, either the store ends with it or the launcher ends all ranks.
    """

    def __init__(self, hardware: Zero) -> None:
        timeout = timedelta(minutes=hardware.timeout_minutes)
        device = _cuda_device(int(os.environ["LOCAL_RANK"])) if hardware.accelerator == "gpu" else None
        self._store: Any
        self._store, me, ranks = next(rendezvous("env://"))
        options: dict[str, Any] = {"backend": "gloo"}
        if device is not None:
            torch.cuda.set_device(device)
            options = {"backend": "nccl", "device_id": device if ranks > 1 else None}
        store = torch._C._distributed_c10d.PrefixStore("ranks", self._store)
        dist.init_process_group(**options, store=store, rank=me, world_size=ranks, timeout=timeout)
        self._published: set[str] = set()
        self._link = link_nodes(self._store)

    def publish(self, what: str, value: str) -> None:
        """Send a message to the other ranks. Only rank 0 sends, and only the first message under each name counts."""
        if is_rank_zero() and what not in self._published:
            self._store.set(f"published/{what}", value)
            self._published.add(what)

    def wait_for(self, what: str) -> str | None:
        """Wait for a message from rank 0; None if rank 0 has ended without sending it."""
        try:
            while not self._store.check([f"published/{what}"]):
                time.sleep(_POLL_SECONDS)
            value: bytes = self._store.get(f"published/{what}")
        except RuntimeError:  # the store ended with rank 0
            return None
        return value.decode() or None

    def leave(self) -> None:
        """End the process group. Ranks that still wait for the run return without training."""
        self.publish("run", "")
        if self._link is not None:
            self._link.close()
        if dist.is_initialized():
            dist.destroy_process_group()


def _cuda_device(local_rank: int) -> torch.device:
    """The device of a rank.

    Raises:
        LwexpError: If there are fewer devices than ranks on this node.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local_rank < found:
        return torch.device("cuda", local_rank)
    raise LwexpError(
        f"device: rank {local_rank} of this node finds {found or 'no'} CUDA devices; start at most one rank per device "
        f"(torchrun --nproc_per_node), or let each rank see all devices of the node (no --gpus-per-task in srun)"
    )


Ranks = SingleProcess | RankGroup


T = TypeVar("T")


def broadcast_from_rank0(find: Callable[[], T]) -> T:
    """Call ``find`` on rank 0 and return its result on every rank of the run. All ranks must call this."""
    if not dist.is_initialized():
        return find()
    found = [find() if is_rank_zero() else None]
    dist.broadcast_object_list(found, src=0)
    value: Any = found[0]
    result: T = value
    return result


def gather_from_ranks(value: T) -> list[T]:
    """The ``value`` of each rank, in the order of ranks, returned on every rank. All ranks must call this."""
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, value)
    return found


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and number of ranks of the run; (0, 1) for a single process."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def join_process_group(hardware: Hardware | None) -> Ranks:
    """Join the other ranks of this run, which ``runs.launch`` or another launcher has started, if the run uses ZeRO."""
    return RankGroup(hardware) if isinstance(hardware, Zero) else SingleProcess()
