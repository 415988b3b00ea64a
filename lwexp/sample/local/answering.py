"""Answers requests with a model folder: in this process, or in workers where that is faster."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from lwexp.config.evaluate import SampleConfig
from lwexp.extend import ChatFormat
from lwexp.extend.plugins import loaded_plugins
from lwexp.runs.artifacts import WORKERS_LOG
from lwexp.sample.engine import TransformersEngine
from lwexp.sample.folder_check import check_folder, is_small
from lwexp.sample.local.messages import Setup
from lwexp.sample.local.pool import Pool
from lwexp.sample.local.process import places
from lwexp.sample.requests import SampleRequest, SampleResult, expected_tokens
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

# A small model writes about 4,000 tokens a second on one core, and a worker takes 5 seconds to start.
_TOKENS_A_WORKER = 20_000


def answer_here(
    requests: Sequence[SampleRequest],
    model: Path,
    sample: SampleConfig,
    *,
    chat: ChatFormat | str | None,
    workers: int | None,
    folder: Path,
    keep: Callable[[SampleResult], None],
    written: Callable[[int], None],
) -> None:
    """Answer every request.

    Args:
        requests: In any order.
        model: Folder in Hugging Face format.
        sample: How answers are decoded.
        chat: Chat format of a folder that lwexp has not saved.
        workers: ``engine.workers``.
        folder: Receives workers.log if a worker prints anything.
        keep: Receives each answer.
        written: Receives numbers of tokens as they are written.

    Raises:
        LwexpError: If the folder could not answer, or as in ``TransformersEngine`` or ``Pool.answer``.
    """
    check_folder(model, [request.prompt for request in requests], sample, chat)
    devices = _devices()
    number = min(workers or _suitable_workers(requests, model, sample, len(devices)), len(requests))
    if number == 1:
        for answer in TransformersEngine(model, chat=chat).answers(requests, sample, written=written):
            keep(answer)
        return
    where = f"{plural(min(number, len(devices)), 'GPU')}" if devices else "the CPU"
    log.info("%s in %d workers on %s", plural(len(requests), "answer"), number, where)
    log_file = folder / WORKERS_LOG
    setup = Setup(
        model, chat, sample.model_copy(update={"batch_size": min(sample.batch_size, -(-len(requests) // number))}),
        largest=(
            max(requests, key=lambda request: len(request.prompt.text)),
            max(requests, key=lambda request: expected_tokens(request.prompt, sample)),
        ),
        sharing=-(-number // max(1, len(devices))),
    )  # fmt: skip
    rooms = places(number, devices, cores=len(os.sched_getaffinity(0)))
    try:
        Pool(requests, rooms, loaded_plugins(), setup, log_file).answer(keep, written)
    finally:
        if log_file.is_file() and not log_file.stat().st_size:
            log_file.unlink()


def _devices() -> list[str]:
    """The GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    if not torch.cuda.is_available():
        return []
    named, count = os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count()  # CUDA leaves out unknown names
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


def _suitable_workers(requests: Sequence[SampleRequest], model: Path, sample: SampleConfig, devices: int) -> int:
    """One for each GPU; on a CPU one for each core if the model is small, whose matrices one core multiplies best.

    Little work gets fewer: its workers would still be starting when one of them is done.
    """
    if devices:
        return devices
    if not is_small(model):
        return 1
    tokens = sum(expected_tokens(request.prompt, sample) for request in requests)
    return max(1, min(len(os.sched_getaffinity(0)), tokens // _TOKENS_A_WORKER))
