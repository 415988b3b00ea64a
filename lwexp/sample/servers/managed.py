"""Answers prompts with a server that lwexp starts on the model's folder, checks, restarts once, and stops."""

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lwexp.config.evaluate import FREE, ApiEngine, SampleConfig, ServerEngine
from lwexp.extend import ChatFormat
from lwexp.pack.model_weights import check_model
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import Failure, LwexpError, Prompt
from lwexp.runs.artifacts import ENGINE_LEDGER, EngineSummary
from lwexp.runs.identity import model_fingerprint
from lwexp.sample.folder_check import context_for, longest_prompt, positions_of
from lwexp.sample.remote import ask_all
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.sample.servers.identity import check_prompts, check_weights, served_model, version_of
from lwexp.sample.servers.launch import model_config, server_command
from lwexp.sample.servers.process import ServerProcess
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

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
        LwexpError: If the model's files have changed since their export, prompt and answer exceed the positions, or the
            server does not start, dies twice, or serves another model, tokenizer or chat template.
        KeyboardInterrupt: After Ctrl-C; ``Preempted`` after SIGTERM.
    """
    check_model(model)
    # The name says which weights are served, so a server of another model on the same port is noticed.
    name = f"lwexp-{model_fingerprint(model, folder.parent)[:16]}"
    prompts = [request.prompt for request in requests]
    command = server_command(engine, model, name, _context(engine, model, prompts, sample, chat))
    server = ServerProcess(command, folder / _LOG, engine.start_seconds)
    api = ApiEngine(
        kind="api", model=f"hosted_vllm/{name}", base_url=f"{server.url}/v1", supports_top_k=True, price=FREE,
        limits=engine.limits,
    )  # fmt: skip
    waiting = {request.id: request for request in requests}
    _free_gpu_memory()
    try:
        for restarts_left in range(_RESTARTS, -1, -1):
            server.start()
            served = served_model(server.url, name)
            weights = check_weights(served, model, folder.parent)
            check_prompts(served, prompts, sample, model, chat)
            EngineSummary(
                model=name, url=server.url, weights=weights, version=version_of(served), command=server.command,
                positions=served.positions, starts=_RESTARTS + 1 - restarts_left,
            ).write(folder)  # fmt: skip
            log.info("server: serves the weights, tokenizer and chat template of %s", model)
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


def _context(
    engine: ServerEngine, model: Path, prompts: Sequence[Prompt], sample: SampleConfig, chat: ChatFormat | str | None
) -> int:
    longest = longest_prompt(load_tokenizer(model, revision=None, chat=chat), prompts)
    context = context_for(engine, positions_of(model_config(model)), longest, sample.max_new_tokens)
    log.info(
        "server: a context of %s tokens; the longest prompt has %s, sample.max_new_tokens=%d%s",
        f"{context:,}", f"{longest:,}", sample.max_new_tokens,
        "" if engine.context else " (engine.context sets another)",
    )  # fmt: skip
    return context


def _free_gpu_memory() -> None:
    """Memory that an earlier training in this process still holds would be missing in the server."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


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
