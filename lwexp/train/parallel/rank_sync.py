"""The ranks of a run, from before the data are read: rank 0 prepares and publishes what it found, the others wait.

Only rank 0 resolves names such as "newest", opens the run and packs. A rank that did so by itself might find
another run finished in between, and eight ranks would read 200,000 conversations eight times.
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
from lwexp.runs.ranks import is_rank_zero

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2


class SingleProcess:
    """A run of one process: no other rank to publish to or to wait for."""

    def publish(self, what: str, value: str) -> None:
        pass

    def wait_for(self, what: str) -> str | None:
        return None

    def leave(self) -> None:
        pass


class RankGroup:
    """Messages from rank 0 to the others, through the store that also holds their process group together.

    Waiting for a message has no time limit, unlike a collective: packing 200,000 rows takes longer than NCCL's ten
    minutes. If rank 0 dies the store dies with it, or whoever started the ranks ends them all.
    """

    def __init__(self, hardware: Zero) -> None:
        timeout = timedelta(minutes=hardware.timeout_minutes)
        self._store: Any
        self._store, me, ranks = next(rendezvous("env://"))
        options: dict[str, Any] = {"backend": "gloo"}
        if hardware.accelerator == "gpu":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
            options = {"backend": "nccl", "device_id": device if ranks > 1 else None}
        store = torch._C._distributed_c10d.PrefixStore("ranks", self._store)
        dist.init_process_group(**options, store=store, rank=me, world_size=ranks, timeout=timeout)
        self._told: set[str] = set()

    def publish(self, what: str, value: str) -> None:
        """Leave a message for the other ranks; only the first of each name counts."""
        if is_rank_zero() and what not in self._told:
            self._store.set(f"told/{what}", value)
            self._told.add(what)

    def wait_for(self, what: str) -> str | None:
        """A message of rank 0, as soon as there is one; None if rank 0 has gone without it, and has said why."""
        try:
            while not self._store.check([f"told/{what}"]):
                time.sleep(_POLL_SECONDS)
            value: bytes = self._store.get(f"told/{what}")
        except RuntimeError:  # the store went with rank 0
            return None
        return value.decode() or None

    def leave(self) -> None:
        """End the process group. Ranks that still wait learn that there is nothing to do."""
        self.publish("run", "")
        if dist.is_initialized():
            dist.destroy_process_group()


Ranks = SingleProcess | RankGroup


T = TypeVar("T")


def broadcast_from_rank0(find: Callable[[], T]) -> T:
    """The result of ``find`` on rank 0, on every rank of the run."""
    if not dist.is_initialized():
        return find()
    found = [find() if is_rank_zero() else None]
    dist.broadcast_object_list(found, src=0)
    value: Any = found[0]
    result: T = value
    return result


def join_process_group(hardware: Hardware | None) -> Ranks:
    """Join the other ranks of this run, which ``runs.launch`` or another launcher has started."""
    return RankGroup(hardware) if isinstance(hardware, Zero) else SingleProcess()
