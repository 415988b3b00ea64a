"""What a run writes and copies besides computing: checkpoints, their conversion, and traffic with the host.

Letters as in ``memory``: N parameters, A of them trained, W ranks, r 1 if the optimiser is offloaded and else 0, b
bytes per weight. The three speeds are assumptions; the log of a run says how long a save really took.
"""

import math
from typing import NamedTuple

from lwexp.config.schema import Config
from lwexp.config.train import CPU, Hardware, Zero
from lwexp.extend import Sizes
from lwexp.train.planner.hardware import hardware_of
from lwexp.train.planner.memory import GIB

STORAGE_BYTES_PER_SECOND = 1.0e9
PINNED_BYTES_PER_SECOND = 25.0e9
"""One way over PCIe 4.0 x16, page-locked."""
PAGEABLE_BYTES_PER_SECOND = 10.0e9
HOST_BYTES_PER_SECOND = 200.0e9
"""Memory of one node, which AdamW on the CPU is limited by."""
ADAM_BYTES = 28
"""A parameter's update reads gradient, master and moments, and writes the last three: 7 float32 numbers."""


class DiskSpace(NamedTuple):
    """GiB that a run writes."""

    checkpoint: float
    model: float
    """The export, which stays; checkpoints are deleted after it."""


def checkpoint_bytes(sizes: Sizes, hardware: Hardware) -> float:
    """Size of one checkpoint of all ranks.

    ZeRO-3 saves the float32 masters and the moments, and of the weights only frozen ones; ZeRO-2 and one process save
    the weights as well. In one process float32 weights have no separate masters, and weights in 4 bits are not saved.
    """
    n, a, b = sizes.parameters, sizes.trained_parameters, hardware.number_bytes
    if isinstance(hardware, Zero):
        return 12.0 * a + b * (n - a if hardware.stage == 3 else n)
    return b * (n - sizes.quantized_parameters) + (8.0 if b == 4 or hardware.moments == "bf16" else 12.0) * a


def conversion_bytes(sizes: Sizes, hardware: Zero) -> float:
    """Disk space, beside the checkpoint, that is needed to resume it on another number of ranks.

    DeepSpeed writes each tensor's parts, then the whole tensors, and deletes the parts last; under ZeRO-3 it also
    copies the optimiser file of rank 0, under ZeRO-2 the weights.
    """
    a = sizes.trained_parameters
    more = 12.0 * a / hardware.ranks if hardware.stage == 3 else hardware.number_bytes * sizes.parameters
    return 24.0 * a + more


def resume_host_bytes(sizes: Sizes, hardware: Hardware) -> float:
    """Host memory of a node, beyond that of its processes, while a checkpoint is loaded.

    One process reads the whole checkpoint into host memory and copies it to the device, where no gradients or
    activations exist yet, so the device needs less than in training. Under ZeRO each rank reads its optimiser file and,
    under ZeRO-2, all weights. Offloaded gradients and masters are allocated by then, the moments are not.

    Source: lightning 2.6.6 TorchCheckpointIO.load_checkpoint: torch.load to the CPU, without mmap; the result is kept
    until all states are restored.
    """
    if not isinstance(hardware, Zero):
        return checkpoint_bytes(sizes, hardware)
    share, r = sizes.trained_parameters / hardware.ranks, hardware.offload_optimizer
    held = 4 * share + 8 * r * share if r else 0.0
    if hardware.offload_parameters:
        held += 2 * sizes.parameters / hardware.ranks
    saved = checkpoint_bytes(sizes, hardware) - 12 * sizes.trained_parameters  # weights
    read = 12 * share + (saved / hardware.ranks if hardware.stage == 3 else saved)
    return hardware.devices * (read + held)


def saving_hours(sizes: Sizes, hardware: Hardware, training_hours: float, minutes: float | None) -> float:
    """Hours that checkpoints take: one every ``minutes``, and the last one."""
    saves = 1 + (math.floor(training_hours * 60 / minutes) if minutes else 0)
    return saves * checkpoint_bytes(sizes, hardware) / STORAGE_BYTES_PER_SECOND / 3600


def copying_hours(sizes: Sizes, hardware: Hardware, tokens: int, packs: float, steps: int) -> float:
    """Hours that a rank waits for copies between device and host, and for AdamW on the host.

    Args:
        sizes: Sizes of the model.
        hardware: Says what is offloaded.
        tokens: Tokens of a pack.
        packs: Packs that one rank runs in the whole training.
        steps: Optimiser steps.
    """
    b, a, w = hardware.number_bytes, sizes.trained_parameters, hardware.ranks
    per_pack = per_step = update = 0.0
    if hardware.activation_offload:
        per_pack += 2.0 * sizes.num_hidden_layers * tokens * sizes.hidden_size * b
    if isinstance(hardware, Zero):
        if r := hardware.offload_optimizer:
            # The sum of all gradients is kept on the host: it is fetched, added to, and written back.
            per_pack += 2.0 * 4 * a / w
            per_step += b * r * a / w
            update = ADAM_BYTES * r * a / hardware.num_nodes / HOST_BYTES_PER_SECOND
        if hardware.offload_parameters:
            passes = 3 if hardware.activation_checkpointing else 2
            per_pack += float(passes * b * sizes.parameters / w)
    is_pinned = not isinstance(hardware, Zero) or hardware.pin_memory
    speed = PINNED_BYTES_PER_SECOND if is_pinned else PAGEABLE_BYTES_PER_SECOND
    return (packs * per_pack / speed + steps * (per_step / speed + update)) / 3600


def disk_space(config: Config, sizes: Sizes) -> DiskSpace:
    """Disk space that a run needs."""
    hardware = hardware_of(config)
    return DiskSpace(checkpoint_bytes(sizes, hardware) / GIB, hardware.number_bytes * sizes.base_parameters / GIB)


def disk_line(config: Config, sizes: Sizes) -> str:
    """Disk space of checkpoints and of the exported model, and what a resume needs."""
    keep, hardware, space = config.training.keep_checkpoints, hardware_of(config), disk_space(config, sizes)
    line = (
        f"disk: {_gib(space.checkpoint)} per checkpoint, {keep} kept and one being written: "
        f"{_gib((keep + 1) * space.checkpoint)}; the exported model {_gib(space.model)}"
    )
    host = resume_host_bytes(sizes, hardware) / GIB
    where = "host memory on each node" if isinstance(hardware, Zero) else "host memory"
    line += f"\nresume: {_gib(host)} of {where} while a checkpoint is loaded"
    if not isinstance(hardware, CPU) and hardware.host_gib is not None and host > hardware.host_gib:
        line += f", more than hardware.host_gib={hardware.host_gib:g}: the run could not be resumed there"
    if isinstance(hardware, Zero):
        line += f"; on another number of ranks {_gib(conversion_bytes(sizes, hardware) / GIB)} of disk in addition"
    return line


def _gib(gib: float) -> str:
    return f"{gib:,.1f} GiB" if gib >= 1 else f"{gib * 1024:,.1f} MiB"
