"""Checks before a run starts. They take a few seconds and report everything that is missing at once."""

import contextlib
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lwexp.config.presets import hardware_presets
from lwexp.config.schema import Config
from lwexp.config.train import Hardware, ModelConfig, Zero
from lwexp.extend import FAMILIES
from lwexp.pack.model_weights import conversion_advice
from lwexp.records import LwexpError
from lwexp.train.metrics.tracking import tracking_problem
from lwexp.train.model.admission import admission_problem, rotary_problem
from lwexp.train.model.context import context_problem
from lwexp.train.model.dimensions import config_json, find_config, model_sizes, size_surprise
from lwexp.train.model.folder_layout import read_config
from lwexp.train.planner.hardware import hardware_of
from lwexp.train.planner.memory_fit import (
    check_fit,
    check_presets,
    max_forward_tokens,
    preset_name,
    refusal,
    what_helps,
)

HUB_TIMEOUT_SECONDS = 3.0

log = logging.getLogger(__name__)


def preflight(config: Config, start_from: Path | None = None) -> None:
    """Refuse a training run that cannot work here.

    Args:
        config: The whole config, after ``settle_hardware``.
        start_from: Folder of the model to start from; DPO needs one.

    Raises:
        LwexpError: With one line that lists everything that is missing, and what to do about each item.
    """
    found = problems_here(config, start_from)
    if found:
        numbered = found if len(found) == 1 else [f"({n}) {problem}" for n, problem in enumerate(found, start=1)]
        raise LwexpError(f"model={config.model.name} cannot be trained here: {'; '.join(numbered)}")
    if start_from is None and (surprise := size_surprise(config.model)) is not None:
        log.warning(surprise)


def problems_here(config: Config, start_from: Path | None = None) -> list[str]:
    """Every reason why a run cannot start on this machine."""
    hardware, model = hardware_of(config), config.model
    devices = list(device_problems(hardware))
    problems = [weights_problem(model, start_from), adapter_problem(model), *devices, tracking_problem(config.tracking)]
    problems += settings_problems(config, start_from)
    try:
        sizes = model_sizes(model, start_from)
    except LwexpError as error:
        problems += [] if any(problems) else [str(error)]
    else:
        tokens = max_forward_tokens(config, hardware, sizes, here=not devices)
        chosen = check_fit(preset_name(hardware), sizes, hardware, tokens, here=not devices)
        if not chosen.is_fitting:
            helps = what_helps(model, sizes, hardware, tokens, here=not devices)
            problems.append(refusal(chosen, check_presets(sizes, tokens), tokens, helps))
    return [problem for problem in problems if problem]


def settings_problems(config: Config, start_from: Path | None = None) -> list[str]:
    """Every reason why a run could not start on any machine. A dry run reports these as a refusal too."""
    model = config.model
    problems = [
        folder_problem(model, start_from) or architecture_problem(model, start_from, config.pack.max_tokens),
        batch_problem(config),
    ]
    # A random model may have fewer positions than a pack has tokens, if its documents are short. For such a model this
    # is checked after packing.
    if model.init == "pretrained" and not any(problems):
        with contextlib.suppress(LwexpError):  # the sizes are not known, which ``problems_here`` reports
            problems.append(context_problem(model, model_sizes(model, start_from), config.pack.max_tokens))
    return [problem for problem in problems if problem]


def batch_problem(config: Config) -> str | None:
    """Why the packs of a step cannot be shared out evenly; None if they can."""
    ranks, batch = hardware_of(config).ranks, config.objective.global_batch
    if batch % ranks == 0:
        return None
    lower = batch // ranks * ranks
    nearest = f"{lower} or {lower + ranks}" if lower else f"{ranks} or {2 * ranks}"
    return (
        f"objective.global_batch={batch}: in each step some of the {ranks} ranks would have no pack; set it to a "
        f"multiple of {ranks}, such as {nearest}"
    )


def adapter_problem(model: ModelConfig) -> str | None:
    """What is missing for the adapter that the config asks for; None if nothing is."""
    if model.adapter == "lora" and find_spec("peft") is None:
        return "packages: model.adapter=lora needs peft; pip install 'lwexp[lora]'"
    if model.quantize != "none" and find_spec("bitsandbytes") is None:
        return f"packages: model.quantize={model.quantize} needs bitsandbytes; pip install 'lwexp[qlora]'"
    return None


def architecture_problem(model: ModelConfig, start_from: Path | None, longest: int | None = None) -> str | None:
    """What is wrong with the architecture, vocabulary or tokenizer of the folder to be loaded; None if nothing is.

    Reads config.json and the tokenizer's files, but no weights.

    Args:
        model: The config's model.
        start_from: Folder to be loaded instead of ``model.path``.
        longest: Tokens of the longest document that a pack may hold; None if it is not known.
    """
    path = str(start_from) if start_from else model.path
    content = config_json(path, None if start_from else model.revision)
    if content is None or path is None or (start_from is None and model.init == "random"):
        return None
    found: Any = content.get("model_type")
    wanted = model.family.kind
    for _, family in FAMILIES.items():
        if found in family.unreadable:
            return f"architecture: {path} is {family.unreadable[found]}"
    if not model.family.takes(found):
        return f"architecture: {path} is of type {found!r}, model.family={wanted}; choose a model of that family"
    if model.family.is_read_from_folder and (problem := admission_problem(content)):
        return f"architecture: {path}: {problem}"
    if model.rope_scaling is None and (problem := rotary_problem(content, longest)):
        return f"architecture: {path}: {problem}"
    file = find_config(path, None if start_from else model.revision)
    if file is None or not (file.parent / "tokenizer.json").is_file():
        return None
    if model.tokenizer == "train" and start_from is None:
        return None
    from lwexp.pack.tokenizer import load_tokenizer

    try:
        tokenizer = load_tokenizer(file.parent, None, model.chat_settings)
    except LwexpError as error:
        return f"tokenizer: {error}"
    highest, rows = max(tokenizer.get_vocab().values()), getattr(read_config(content), "vocab_size", None)
    if rows is None or highest < rows:
        return None
    return (
        f"vocabulary: {path} has a token with id {highest:,} and an embedding of {rows:,} rows; "
        f"use the tokenizer that belongs to the model"
    )


def folder_problem(model: ModelConfig, start_from: Path | None) -> str | None:
    """Why the path to be read is not a model folder; None if it is one, or if a hub id is given."""
    if start_from is not None:
        if find_config(str(start_from), None) is None:
            return f"weights: {start_from} holds no model (no config.json); choose another run with init_from="
        return None
    path, needed = model.path, _read_from_path(model)
    if not needed or path is None:
        return None
    if advice := conversion_advice(path):
        return f"{needed}: model.path={path}: {advice}"
    if Path(path).is_dir():
        if find_config(path, None) is None:
            return f"{needed}: {path} has no config.json; set model.path=<folder in Hugging Face format>"
    elif path.count("/") != 1 or path.startswith((".", "~", "/")):
        return f"{needed}: there is no folder {path}; set model.path=<folder> or a hub id"
    return None


def _read_from_path(model: ModelConfig) -> str:
    needed = ["weights"] if model.init == "pretrained" else []
    needed += ["tokenizer"] if model.tokenizer == "from_path" else []
    return " and ".join(needed)


def weights_problem(model: ModelConfig, start_from: Path | None) -> str | None:
    """Why a hub id cannot be read from here; None if it can, or if the model comes from a folder."""
    needed = _read_from_path(model)
    if start_from is not None or not needed or model.path is None or folder_problem(model, None):
        return None
    problem = None if Path(model.path).is_dir() else hub_problem(model.path, model.revision)
    return f"{needed}: {problem}" if problem else None


def hub_problem(path: str, revision: str | None) -> str | None:
    """Why a hub id cannot be loaded; None if it is in the cache, or if the hub has it."""
    if find_config(path, revision) is not None:
        return None
    import httpx
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    download = f"download it elsewhere (hf download {path}) and set model.path=<folder>"
    if constants.HF_HUB_OFFLINE:
        return (
            f"{path} is not in the Hugging Face cache and HF_HUB_OFFLINE=1 forbids asking the hub; "
            f"unset it, or {download}"
        )
    try:
        get_hf_file_metadata(hf_hub_url(path, "config.json", revision=revision), timeout=HUB_TIMEOUT_SECONDS)
    except GatedRepoError:
        return f"{path} is gated; accept its licence on the hub and set HF_TOKEN, or {download}"
    except HfHubHTTPError as error:
        status = error.response.status_code
        return (
            f"the hub answered {status} for {path}; check model.path and model.revision, and HF_TOKEN if it is private"
        )
    except (httpx.HTTPError, OSError):
        return f"{path} is not in the Hugging Face cache and the hub cannot be reached from here; {download}"
    return None


def device_problems(hardware: Hardware) -> Iterator[str]:
    """Problems with the devices, kernels and packages that the config's hardware needs."""
    from lwexp.train.model.attention import attention_problem
    from lwexp.train.model.kernels import kernels_problem

    kernels = kernels_problem(hardware.kernels, hardware.device)
    yield from (problem for problem in (attention_problem(hardware.attention), kernels) if problem)
    if isinstance(hardware, Zero):
        missing = [name for name in ("deepspeed", "accelerate") if find_spec(name) is None]
        if missing:
            yield f"packages: ZeRO needs {' and '.join(missing)}; pip install 'lwexp[zero]'"
    if hardware.device == "cpu":
        return
    import torch

    wanted = hardware.devices
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < wanted:
        devices = "1 CUDA device" if wanted == 1 else f"{wanted} CUDA devices"
        name = preset_name(hardware)
        what = f"hardware={name}" if name in hardware_presets() else "this hardware"
        yield f"device: {what} wants {devices}, this machine has {found or 'none'}"
