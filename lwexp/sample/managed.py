"""Answers prompts with a vLLM server that lwexp starts on the model's folder, checks, restarts once, and stops."""

import importlib.util
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lwexp.config.evaluate import ApiEngine, SampleConfig, ServerEngine
from lwexp.extend import ChatFormat
from lwexp.pack.model_weights import check_model
from lwexp.records import Failure, LwexpError
from lwexp.runs.artifacts import ENGINE_LEDGER
from lwexp.runs.identity import model_fingerprint
from lwexp.sample.remote import ask_all
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.sample.served_model import check_prompts, served_model
from lwexp.sample.server_process import ServerProcess
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_VLLM = "vllm.entrypoints.openai.api_server"
_RESTARTS = 1
_LOG = "server.log"


def answer_by_server(
    requests: Sequence[SampleRequest],
    engine: ServerEngine,
    model: Path,
    sample: SampleConfig,
    *,
    chat: ChatFormat | str | None,
    folder: Path,
    keep: Callable[[SampleResult | Failure], None],
) -> None:
    """Start a server for ``model``, ask for every answer, and stop it however this ends.

    Args:
        requests: In any order.
        engine: How to start the server.
        model: Folder in Hugging Face format.
        sample: Decoding settings; every one is sent.
        chat: Chat format of a folder that lwexp has not saved.
        folder: Receives ``server.log`` and the ledger of answers.
        keep: Receives an answer, or why there is none.

    Raises:
        LwexpError: If the model's files have changed since their export, or the server does not start, dies twice, or
            serves another model, tokenizer or chat template.
        KeyboardInterrupt: After Ctrl-C; ``Preempted`` after SIGTERM.
    """
    check_model(model)
    # The name says which weights are served, so a server of another model on the same port is noticed.
    name = f"lwexp-{model_fingerprint(model, folder.parent)[:16]}"
    server = ServerProcess(_command(engine, model, name), folder / _LOG, engine.start_seconds)
    api = ApiEngine(
        kind="api", model=f"hosted_vllm/{name}", base_url=f"{server.url}/v1", supports_top_k=True, limits=engine.limits
    )
    waiting = {request.id: request for request in requests}
    try:
        for restarts_left in range(_RESTARTS, -1, -1):
            server.start()
            served = served_model(server.url, name)
            check_prompts(served, [request.prompt for request in requests], sample, model, chat)
            failures = _ask(waiting, server, api, sample, folder / ENGINE_LEDGER, keep)
            if failures is not None:
                for failure in failures:
                    keep(failure)
                return
            server.stop()  # its remaining children would hold the port and the memory
            missing = plural(len(waiting), "answer")
            if not restarts_left:
                raise LwexpError(
                    f"the server died twice, with {missing} missing; see {folder / _LOG} and run the same command again"
                )
            log.warning("server: died with %s missing; starting it once more", missing)
    finally:
        server.stop()


def _command(engine: ServerEngine, model: Path, name: str) -> list[str]:
    if engine.command is None and importlib.util.find_spec("vllm") is None:
        raise LwexpError(
            "engine.command: vLLM is not installed beside lwexp; set "
            f'engine.command="<its environment>/bin/python -m {_VLLM}", or install vllm'
        )
    program = [sys.executable, "-m", _VLLM] if engine.command is None else shlex.split(engine.command)
    command = [*program, "--model", str(model), "--served-model-name", name, "--dtype", engine.dtype]
    # Without this, generation_config.json sets whatever a request leaves out.
    command += ["--generation-config", "vllm"]
    if engine.tensor_parallel > 1:
        command += ["--tensor-parallel-size", str(engine.tensor_parallel)]
    if engine.data_parallel > 1:
        command += ["--data-parallel-size", str(engine.data_parallel)]
    if engine.memory_share is not None:
        command += ["--gpu-memory-utilization", str(engine.memory_share)]
    return [*command, *shlex.split(engine.options)]


def _ask(
    waiting: dict[str, SampleRequest],
    server: ServerProcess,
    api: ApiEngine,
    sample: SampleConfig,
    ledger: Path,
    keep: Callable[[SampleResult | Failure], None],
) -> list[Failure] | None:
    """Ask for what is waiting. Returns the failures, or None if the server died meanwhile."""
    failures: list[Failure] = []

    def received(answer: SampleResult | Failure) -> None:
        if isinstance(answer, Failure):
            failures.append(answer)
            return
        del waiting[answer.id]
        keep(answer)

    try:
        ask_all(list(waiting.values()), api, sample, ledger, None, received)
    except LwexpError:
        if server.is_running:
            raise
        return None
    return None if failures and not server.is_running else failures
