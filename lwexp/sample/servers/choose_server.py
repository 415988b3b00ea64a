"""Which program decodes a model whose folder is here: vLLM where it can run, else transformers in this process."""

from pathlib import Path

from lwexp.config.evaluate import CheckpointEngine, ServerEngine
from lwexp.config.folders import config_folders, read_choice
from lwexp.sample.servers.launch import is_installed, num_gpus

_SMALL_MODEL = 256 * 2**20
"""Bytes of weights below which this process decodes: the miniature has 4 MiB, SmolLM2-135M 270."""


def served_by_vllm(engine: CheckpointEngine) -> ServerEngine:
    """The same model, served by vLLM with the settings of ``engine=vllm``."""
    settings = read_choice("engine", "vllm", config_folders())
    return ServerEngine.model_validate({**settings, "path": engine.path, "chat": engine.chat})


def why_not_vllm(model: Path) -> str | None:
    """Why vLLM does not serve a model here; None if it does."""
    if not is_installed("vllm"):
        return "vLLM is not installed beside lwexp"
    if not num_gpus():
        return "there is no GPU"
    if sum(file.stat().st_size for file in model.glob("*.safetensors")) < _SMALL_MODEL:
        return "the model is small, and a server takes longer to start than it saves"
    return None
