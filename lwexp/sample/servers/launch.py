"""The command that starts a server: which program, on how many devices, with which settings."""

import importlib.util
import logging
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

from lwexp.config.evaluate import ServerEngine
from lwexp.records import LwexpError
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

# Parts of a GPU's memory. vLLM takes 0.92 of it by default; a tenth of that is for activations and CUDA graphs.
_DEFAULT_SHARE = 0.92
_WORK_SPACE = 0.1


class Program(NamedTuple):
    """A server program and the names of its arguments."""

    package: str
    module: str
    model: str
    dtype: str
    context: str
    tensor_parallel: str
    data_parallel: str
    memory_share: str
    fixed: tuple[str, ...]
    """Without these, generation_config.json sets whatever a request leaves out."""


# Source: `python -m vllm.entrypoints.openai.api_server --help` of 0.32.0; docs.sglang.io, "Server Arguments".
PROGRAMS = {
    "vllm": Program(
        "vllm", "vllm.entrypoints.openai.api_server", "--model", "--dtype", "--max-model-len",
        "--tensor-parallel-size", "--data-parallel-size", "--gpu-memory-utilization", ("--generation-config", "vllm"),
    ),
    "sglang": Program(
        "sglang", "sglang.launch_server", "--model-path", "--dtype", "--context-length",
        "--tp-size", "--dp-size", "--mem-fraction-static", ("--sampling-defaults", "openai"),
    ),
}  # fmt: skip


class Parallel(NamedTuple):
    """How a model is spread over devices."""

    tensor: int
    data: int


def server_command(engine: ServerEngine, model: Path, name: str, context: int) -> list[str]:
    """The program and its arguments, without host and port.

    Args:
        engine: How to start it.
        model: The folder to serve.
        name: The name to give the model.
        context: Most tokens of a prompt and its answer, which must fit into a device's memory.

    Raises:
        LwexpError: If the program is not installed, or the model does not fit the devices.
    """
    program = PROGRAMS[engine.server]
    if engine.command is not None:
        start = shlex.split(engine.command)
    elif is_installed(engine.server):
        start = [sys.executable, "-m", program.module]
    else:
        raise LwexpError(
            f"engine.command: {program.package} is not installed beside lwexp; set "
            f'engine.command="<its environment>/bin/python -m {program.module}", or install {program.package}'
        )
    command = [*start, program.model, str(model.resolve()), "--served-model-name", name, program.dtype, engine.dtype]
    command += program.fixed
    parallel = spread(engine, model, context)
    given = {
        program.tensor_parallel: parallel.tensor if parallel.tensor > 1 else None,
        program.data_parallel: parallel.data if parallel.data > 1 else None,
        program.memory_share: engine.memory_share,
        program.context: context,
    }
    command += [part for flag, value in given.items() if value is not None for part in (flag, str(value))]
    return [*command, *shlex.split(engine.options)]


def num_gpus() -> int:
    """Devices that this process may use. torch is loaded only here, because it takes seconds."""
    import torch

    return int(torch.cuda.device_count())


def is_installed(server: str) -> bool:
    """Whether the program can be imported here. A folder of its name in the working directory does not count."""
    spec = importlib.util.find_spec(PROGRAMS[server].package)
    return spec is not None and spec.origin is not None


def spread(engine: ServerEngine, model: Path, tokens: int) -> Parallel:
    """As few devices for a copy of the model as it needs, and as many copies as there are devices for.

    Raises:
        LwexpError: If there are fewer devices than the config asks for, or than the model needs.
    """
    devices = num_gpus()
    if not devices:  # on a CPU a server takes all cores by itself
        return Parallel(engine.tensor_parallel or 1, engine.data_parallel or 1)
    copies = engine.data_parallel or 1
    tensor = engine.tensor_parallel or _devices_for(model, tokens, engine, max(1, devices // copies))
    parallel = Parallel(tensor, engine.data_parallel or max(1, devices // tensor))
    if parallel.tensor * parallel.data > devices:
        raise LwexpError(
            f"engine.tensor_parallel={parallel.tensor} and engine.data_parallel={parallel.data} need "
            f"{parallel.tensor * parallel.data} GPUs, there are {devices}"
        )
    log.info(
        "server: %s of the model on %s, %s each",
        plural(parallel.data, "replica"), plural(devices, "GPU"), plural(parallel.tensor, "GPU"),
    )  # fmt: skip
    return parallel


def _devices_for(model: Path, tokens: int, engine: ServerEngine, devices: int) -> int:
    """The smallest number of devices that hold the weights and the keys and values of one answer."""
    import torch

    memory = torch.cuda.get_device_properties(0).total_memory * (engine.memory_share or _DEFAULT_SHARE)
    needed = memory_needed(model, tokens, engine.dtype)
    heads = model_config(model).num_attention_heads
    for count in range(1, devices + 1):
        if heads % count == 0 and needed / count <= memory * (1 - _WORK_SPACE):
            return count
    raise LwexpError(
        f"{model}: weights and one answer of {tokens:,} tokens take {needed / 2**30:,.0f} GiB; "
        f"{plural(devices, 'GPU')} of {memory / 2**30:,.0f} GiB cannot hold them; lower sample.max_new_tokens"
    )


def memory_needed(model: Path, tokens: int, dtype: str) -> int:
    """Bytes of the weights, and of the keys and values of one answer, both in the served precision."""
    config = model_config(model)
    stored = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    width = getattr(config.dtype, "itemsize", 4)
    served = {"float32": 4}.get(dtype, min(width, 2) if dtype != "auto" else width)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(stored * served // width + tokens * config.num_hidden_layers * 2 * heads * head * served)


def model_config(model: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(model, trust_remote_code=False)
