"""Which hardware a run uses: what the config sets, or for ``auto`` what this machine has."""

import logging
import os
from collections.abc import Mapping
from typing import NamedTuple

from lwexp.config.presets import hardware_preset
from lwexp.config.schema import Config
from lwexp.config.train import CPU, Auto, Hardware, ModelConfig, Zero
from lwexp.records import LwexpError
from lwexp.runs.launch import rank_environment
from lwexp.runs.ranks import number_of
from lwexp.train.model.dimensions import model_sizes
from lwexp.train.planner.memory import GIB, TIGHT, plan_memory

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """CUDA devices of this node."""

    devices: int
    gib: float
    """Memory of the smallest device; 0 if there is none."""
    name: str


def settle_hardware(config: Config) -> Config:
    """Replace ``hardware=auto`` by the hardware of this machine, and log the choice.

    Commands call this once, before anything else reads the hardware. If torchrun or srun has started the ranks, their
    number replaces the one in the config.
    """
    if isinstance(config.hardware, Zero):
        return config.model_copy(update={"hardware": _as_started(config.hardware)})
    if not isinstance(config.hardware, Auto):
        return config
    name, hardware, why = choose(find_devices(), config.model, config.pack.max_tokens, config.hardware, os.environ)
    log.info("hardware=auto selects %s: %s", name, why)
    return config.model_copy(update={"hardware": hardware})


def hardware_of(config: Config) -> Hardware:
    """The hardware of a config after ``settle_hardware``."""
    assert not isinstance(config.hardware, Auto), "settle_hardware has not been called"
    return config.hardware


def find_devices() -> Found:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        return Found(0, 0.0, "none")
    devices = [torch.cuda.get_device_properties(number) for number in range(count)]
    return Found(count, min(device.total_memory for device in devices) / GIB, devices[0].name)


def choose(
    found: Found, model: ModelConfig, tokens: int, auto: Auto, environment: Mapping[str, str]
) -> tuple[str, Hardware, str]:
    """Name of the chosen preset, its settings, and the reason.

    With several GPUs: ZeRO-3 over all of them. With one: the first of gpu1, gpu1_141g (bf16 moments) and
    zero3_offload whose plan leaves 5% of the memory free. With none: the CPU. A miniature (a model whose tokenizer is
    fitted to its data) and weights in 4 bits always use one device.
    """
    if found.devices == 0:
        cpu = hardware_preset("cpu")
        assert isinstance(cpu, CPU)
        return "cpu", cpu.model_copy(update={"threads": auto.threads}), "no CUDA device was found"
    what = f"{found.devices} x {found.name} with {found.gib:.0f} GiB"
    nodes = _nodes(environment)
    if found.devices * nodes > 1 and model.tokenizer != "train" and model.quantize == "none":
        name = "multinode" if nodes > 1 else "zero3_8x80g"
        zero = _zero(name, {"devices": found.devices, "num_nodes": nodes, "device_gib": None})
        return name, zero, what + (f" on each of {nodes} nodes" if nodes > 1 else "")
    too_small: list[str] = []
    for name in ("gpu1", "gpu1_141g"):
        alone = hardware_preset(name).model_copy(update={"device_gib": None})
        if (need := _need(model, alone, tokens)) <= TIGHT * found.gib:
            return name, alone, what + "".join(f", {reason}" for reason in too_small)
        too_small.append(f"{name} would need {need / TIGHT:.0f} GiB")
    if model.quantize != "none":  # ZeRO shards weights while they are loaded, before they are put into 4 bits
        return name, alone, ", ".join([what, *too_small])
    zero = _zero("zero3_offload", {"devices": 1, "device_gib": None, "host_gib": None, "pin_memory": False})
    return "zero3_offload", zero, ", ".join([what, *too_small])


def _as_started(hardware: Zero) -> Zero:
    environment = {**os.environ, **(rank_environment(os.environ, hardware.devices) or {})}
    if not environment.get("WORLD_SIZE"):
        return hardware
    ranks = number_of(environment, "WORLD_SIZE")
    here = number_of(environment, "LOCAL_WORLD_SIZE", ranks)
    if (ranks, here) == (hardware.ranks, hardware.devices):
        return hardware
    log.info("hardware: %s ranks were started; the config says %d", ranks, hardware.ranks)
    return hardware.model_copy(update={"devices": here, "num_nodes": ranks // here})


def _nodes(environment: Mapping[str, str]) -> int:
    """Nodes of the job, if torchrun or SLURM has started this process; else 1."""
    if environment.get("WORLD_SIZE"):
        ranks = number_of(environment, "WORLD_SIZE")
        return max(1, ranks // number_of(environment, "LOCAL_WORLD_SIZE", ranks))
    return number_of(environment, "SLURM_STEP_NUM_NODES")


def _zero(name: str, changes: dict[str, object]) -> Zero:
    preset = hardware_preset(name)
    assert isinstance(preset, Zero)
    return preset.model_copy(update=changes)


def _need(model: ModelConfig, hardware: Hardware, tokens: int) -> float:
    try:
        return plan_memory(model_sizes(model), hardware, tokens).device_gib
    except LwexpError:  # the sizes are unknown, which preflight reports
        return 0.0
