"""Answers prompts with a server that the user has started, after looking at what it serves."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from lwexp.config.evaluate import ApiEngine, SampleConfig
from lwexp.extend import ChatFormat
from lwexp.llm.key import require_key
from lwexp.records import Failure, LwexpError
from lwexp.runs.artifacts import ENGINE_LEDGER, MODEL, EngineSummary, Manifest
from lwexp.sample.remote import ask_all, writer_of
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.sample.servers.identity import (
    ServerCannotTellError,
    check_prompts,
    check_weights,
    fingerprint_of,
    served_model,
)  # fmt: skip

log = logging.getLogger(__name__)


def answer_by_given_server(
    requests: Sequence[SampleRequest],
    api: ApiEngine,
    model: Path | None,
    sample: SampleConfig,
    *,
    chat: ChatFormat | str | None,
    folder: Path,
    root: Path | None,
    keep: Callable[[SampleResult | Failure], None],
) -> None:
    """Check the server against ``model``, then ask for every answer.

    Args:
        requests: In any order.
        api: The server.
        model: Folder that it should serve; None if that is not known.
        sample: Decoding settings; every one is sent.
        chat: Chat format of a folder that lwexp has not saved.
        folder: The run's, which receives ``engine.json`` and the ledger of answers.
        root: Folder of the runs that share their answers; None shares with no run.
        keep: Receives an answer, or why there is none.

    Raises:
        LwexpError: If the server does not answer, serves other weights, tokens or fewer positions, or other weights
            than at an earlier start of this run; also as in ``ask_all``.
    """
    weights = None
    if api.base_url is not None:
        hashes = folder.parent if root is None else root
        weights = _weights(api, requests, sample, None if model is None else (model, chat), hashes)
        _refuse_changed_weights(folder, weights, api)
        before = EngineSummary.read(folder)
        known = weights or (before.weights if before else None)  # a start that cannot tell does not forget
        EngineSummary(model=api.model, url=api.base_url, weights=known).write(folder)
    elif model is not None:
        log.warning(
            "%s answers, assumed to serve %s; not checked: no engine.base_url to ask", api.model, _called(model)
        )
    ask_all(requests, api, sample, folder / ENGINE_LEDGER, root, keep, weights=weights)


def _weights(
    api: ApiEngine,
    requests: Sequence[SampleRequest],
    sample: SampleConfig,
    expected: tuple[Path, ChatFormat | str | None] | None,
    root: Path,
) -> str | None:
    """Fingerprint of what the server loaded; None if it does not say.

    Args:
        api: The server.
        requests: What it will be asked.
        sample: Decoding settings.
        expected: Folder and chat format of the model that it should serve; a server that cannot be compared is warned
            about. None takes whatever is served.
        root: Folder of the runs, which keeps the hashes of files.
    """
    url, name = str(api.base_url).rstrip("/").removesuffix("/v1"), api.model.split("/", 1)[-1]
    key = require_key(writer_of(api, sample))
    if expected is None:
        try:
            served = served_model(url, name, key)
        except LwexpError:  # the calls will tell what is wrong, if anything is
            return None
        return fingerprint_of(served, root)
    model, chat = expected
    try:
        served = served_model(url, name, key)
        weights = check_weights(served, model, root)
        check_prompts(served, [request.prompt for request in requests], sample, model, chat)
    except ServerCannotTellError as error:
        log.warning("%s answers, assumed to serve %s; not checked: %s", api.model, _called(model), error)
        return None
    compared = "and has its weights" if weights else "its weights are not compared"
    log.info("%s reads prompts as the same tokens as %s, %s", api.model, _called(model), compared)
    return weights


def _called(model: Path) -> str:
    """A model in messages: by its run if it has one."""
    is_of_a_run = model.name == MODEL and (model.parent / Manifest.FILE).is_file()
    return f"the model of {model.parent.name}" if is_of_a_run else str(model)


def _refuse_changed_weights(folder: Path, weights: str | None, api: ApiEngine) -> None:
    before = EngineSummary.read(folder)
    if before is not None and None not in (before.weights, weights) and before.weights != weights:
        raise LwexpError(
            f"{api.base_url}: {api.model} has other weights than when this run began ({folder.name}); serve the former "
            f"ones, or start over with rerun=true"
        )
