"""Answers prompts with a vLLM server that lwexp starts on the model's folder, checks, restarts once, and stops."""

import importlib.util
import json
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lwexp.config.evaluate import ApiEngine, SampleConfig, ServerEngine
from lwexp.extend import ChatFormat
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import Failure, LwexpError, Message
from lwexp.runs.artifacts import ENGINE_LEDGER
from lwexp.runs.identity import model_fingerprint
from lwexp.sample.remote import ask_all
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.sample.server_process import ServerProcess
from lwexp.text.plain import plural

log = logging.getLogger(__name__)

_VLLM = "vllm.entrypoints.openai.api_server"
_CHECKED_PROMPTS = 8
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
        LwexpError: If the server does not start, dies twice, or serves another model, tokenizer or chat template.
        KeyboardInterrupt: After Ctrl-C; ``Preempted`` after SIGTERM.
    """
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
            check_server(server.url, name, requests, model, sample, chat)
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


def check_server(
    url: str,
    name: str,
    requests: Sequence[SampleRequest],
    model: Path,
    sample: SampleConfig,
    chat: ChatFormat | str | None,
) -> None:
    """Refuse a server that does not serve ``model``, or whose tokens for a prompt differ from those in training.

    Args:
        url: Of the server, without ``/v1``.
        name: The model's name on it.
        requests: The first few and the longest prompt are compared.
        model: Folder whose tokenizer and chat format are expected.
        sample: Its max_new_tokens must fit after the longest prompt.
        chat: Chat format of a folder that lwexp has not saved.
    """
    served = {str(row["id"]): row for row in _called(f"{url}/v1/models")["data"]}
    if name not in served:
        raise LwexpError(f"{url} serves {', '.join(served)}, not {name}: another server has this port; try again")
    tokenizer = load_tokenizer(model, revision=None, chat=chat)
    template = chat_of(tokenizer)
    longest = max(requests, key=lambda request: len(request.prompt.text))
    for request in (*requests[:_CHECKED_PROMPTS], longest):
        messages = [{"role": "user", "content": request.prompt.text}]
        question = {"model": name, "messages": messages, "add_generation_prompt": True, "add_special_tokens": False}
        theirs = list(_called(f"{url}/tokenize", question)["tokens"])
        ours = encode_prompt(tokenizer, template, [Message(role="user", content=request.prompt.text)]).tolist()
        if theirs != ours:
            pairs = enumerate(zip(theirs, ours, strict=False))
            at = next((place for place, (a, b) in pairs if a != b), min(len(theirs), len(ours)))
            raise LwexpError(
                f"{url}: prompt {request.prompt.id} has {len(theirs)} tokens on the server, {len(ours)} in training, "
                f"and they differ from token {at} on: the server reads the tokenizer or chat template of {model} "
                "otherwise; export the run again"
            )
    positions = served[name].get("max_model_len")
    if positions is not None and len(ours) + sample.max_new_tokens > positions:
        raise LwexpError(
            f"sample.max_new_tokens={sample.max_new_tokens:,} after a prompt of {len(ours):,} tokens exceeds the "
            f"{positions:,} positions of {model}; set sample.max_new_tokens={positions - len(ours)} or less"
        )


def _called(url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON reply; POST with a body, else GET."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=60) as reply:
            return json.loads(reply.read())
    except HTTPError as error:
        detail = error.read(300).decode(errors="replace")
        raise LwexpError(f"{url}: the server refused the question ({error.code}: {detail})") from None
    except OSError as error:
        raise LwexpError(f"{url}: the server does not answer ({error})") from None
