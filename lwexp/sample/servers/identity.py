"""Whether a server answers for the model that is expected: its name, its weights, and how it reads prompts."""

import json
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener

from lwexp.config.evaluate import SampleConfig
from lwexp.extend import ChatFormat
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import LwexpError, Message, Prompt, parse_json
from lwexp.runs.identity import model_fingerprint
from lwexp.sample.folder_check import refuse_beyond_positions
from lwexp.sample.servers.process import DIRECT
from lwexp.text.plain import first_difference

_CHECKED_PROMPTS = 8
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


class ServedModel(NamedTuple):
    """A model behind a server."""

    url: str  # without /v1
    name: str
    positions: int | None
    """None if the server does not say."""
    folder: Path | None = None
    """What the server loaded, if it says so and the folder is on this machine."""
    key: str | None = None
    """Key of the server's API."""


def served_model(url: str, name: str, key: str | None = None) -> ServedModel:
    """The model that a server offers under this name.

    Args:
        url: Without ``/v1``.
        name: The model's name on the server.
        key: Key of the server's API, if it wants one.

    Raises:
        ServerCannotTellError: If the server has no list of models.
        OtherModelError: If the server offers other models only. Some servers take any name, whatever they list.
        LwexpError: If the server does not answer.
    """
    listed = _called(f"{url}/v1/models", "data", list, key=key)
    rows = {str(row["id"]): row for row in listed if isinstance(row, dict) and "id" in row}
    if not rows:
        raise ServerCannotTellError(f"{url}: its list of models names none")
    if name not in rows:
        raise OtherModelError(
            f"{url} serves {', '.join(rows)}, not {name}: another server has this address, or engine.model is misspelt"
        )
    positions, root = rows[name].get("max_model_len"), rows[name].get("root")
    return ServedModel(url, name, positions if isinstance(positions, int) else None, _folder(url, root, name, key), key)


def _folder(url: str, root: Any, name: str, key: str | None) -> Path | None:
    """The folder that a server on this machine loaded. SGLang gives its name as root."""
    if urlsplit(url).hostname not in _THIS_MACHINE:
        return None  # the same path on another machine may hold another model
    if root == name:
        try:
            root = _called(f"{url}/get_model_info", "model_path", str, key=key)
        except LwexpError:
            return None
    folder = Path(root) if isinstance(root, str) else None
    if folder is None or not folder.is_absolute():
        return None
    try:
        with (folder / "config.json").open("rb"):
            return folder
    except OSError:  # a path inside the server's container, or of another user
        return None


def check_weights(served: ServedModel, model: Path, root: Path) -> str | None:
    """Refuse a server whose folder differs from the expected one.

    Args:
        served: The server's model.
        model: The expected folder.
        root: Folder of the runs, which keeps the hashes of files.

    Returns:
        Fingerprint of the served weights; None if the server does not say what it loaded.

    Raises:
        LwexpError: If the files differ.
    """
    theirs = fingerprint_of(served, root)
    if theirs is None:
        return None
    if theirs != model_fingerprint(model, root):
        raise LwexpError(
            f"{served.url}: {served.name} was loaded from {served.folder}, whose files differ from those of {model}; "
            f"serve that folder (if the server is in a container whose path means another folder here, mount the model "
            f"at a path that exists in the container only)"
        )
    return theirs


def fingerprint_of(served: ServedModel, root: Path) -> str | None:
    """Fingerprint of the folder that a server loaded; None if it is not known or cannot be read here."""
    try:
        return None if served.folder is None else model_fingerprint(served.folder, root)
    except OSError:
        return None


def check_prompts(
    served: ServedModel, prompts: Sequence[Prompt], sample: SampleConfig, model: Path, chat: ChatFormat | str | None
) -> None:
    """Refuse a server that reads prompts as other tokens than training did, or whose positions are too few.

    Args:
        served: Asked through ``/tokenize``, which vLLM, SGLang and ``lwexp serve`` have.
        prompts: The first few and the longest are compared.
        sample: Its max_new_tokens must fit after the longest prompt.
        model: Folder whose tokenizer and chat format are expected.
        chat: Chat format of a folder that lwexp has not saved.

    Raises:
        ServerCannotTellError: If the server has no ``/tokenize``.
        LwexpError: If the tokens differ or the positions are too few.
    """
    tokenizer = load_tokenizer(model, revision=None, chat=chat)
    template = chat_of(tokenizer)
    longest = max(prompts, key=lambda prompt: len(prompt.text))
    for prompt in (*prompts[:_CHECKED_PROMPTS], longest):
        ours = encode_prompt(tokenizer, template, [Message(role="user", content=prompt.text)]).tolist()
        theirs = _prompt_tokens(served, prompt)
        if theirs is None:
            _check_parts(served, prompt, tokenizer, ours, model)
        elif theirs != ours:
            at = first_difference(theirs, ours)
            raise _other_tokens(served, prompt, len(theirs), len(ours), model, f", and they differ from token {at} on")
    if served.positions is not None:
        refuse_beyond_positions(served.url, len(ours), sample.max_new_tokens, served.positions)


def version_of(served: ServedModel) -> str | None:
    """Version of the server's program: vLLM's and SGLang's addresses differ; None if neither answers."""
    for address in ("version", "server_info"):
        try:
            return str(_called(f"{served.url}/{address}", "version", str, key=served.key))
        except LwexpError:
            continue
    return None


def _prompt_tokens(served: ServedModel, prompt: Prompt) -> list[Any] | None:
    """The tokens of a prompt in the server's chat template; None if its /tokenize reads plain text only (SGLang).

    Raises:
        ServerCannotTellError: If the server has no ``/tokenize``.
    """
    asked = {"model": served.name, "messages": _messages(prompt), "add_generation_prompt": True}
    asked["add_special_tokens"] = False  # the template writes the begin token itself
    found: list[Any]
    try:
        found = _called(f"{served.url}/tokenize", "tokens", list, asked, served.key)
        problem = ServerCannotTellError(f"{served.url}: /tokenize gives no tokens for messages")
    except ServerCannotTellError as error:
        found, problem = [], error
    if found:
        return found
    try:
        _called(f"{served.url}/get_model_info", "model_path", str, key=served.key)  # only SGLang has this
    except LwexpError:
        raise problem from None
    return None


def _check_parts(served: ServedModel, prompt: Prompt, tokenizer: Any, ours: list[int], model: Path) -> None:
    """Compare tokenizer and template apart: the tokens of our rendered prompt, and how many the server's has."""
    text = tokenizer.decode(ours, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    plain = {"model": served.name, "prompt": text, "add_special_tokens": False}
    theirs = _called(f"{served.url}/tokenize", "tokens", list, plain, served.key)
    if theirs != ours and tokenizer.encode(text, add_special_tokens=False) == ours:
        at = first_difference(theirs, ours)
        raise _other_tokens(served, prompt, len(theirs), len(ours), model, f", and they differ from token {at} on")
    asked = {"model": served.name, "messages": _messages(prompt), "max_tokens": 1, "temperature": 0}
    used = _called(f"{served.url}/v1/chat/completions", "usage", dict, asked, served.key).get("prompt_tokens")
    if used != len(ours):
        raise _other_tokens(served, prompt, used, len(ours), model, "")


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt.text}]


def _other_tokens(
    served: ServedModel, prompt: Prompt, theirs: object, ours: int, model: Path, where: str
) -> LwexpError:
    return LwexpError(
        f"{served.url}: prompt {prompt.id} has {theirs} tokens on the server, {ours} in training{where}: the server "
        f"does not use the tokenizer and chat template of {model}; serve that folder, or export the run again"
    )


class ServerCannotTellError(LwexpError):
    """The server does not answer this question."""


class OtherModelError(ServerCannotTellError):
    """The server lists other models only."""


def _called(url: str, field: str, kind: type, body: dict[str, Any] | None = None, key: str | None = None) -> Any:
    """A field of the JSON reply, of the given type; POST with a body, else GET."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        opener = DIRECT if urlsplit(url).hostname in _THIS_MACHINE else build_opener()
        with opener.open(Request(url, data, headers), timeout=60) as reply:
            found = parse_json(reply.read())[field]
    except HTTPError as error:
        detail = error.read(300).decode(errors="replace")
        said = f"{url}: the server refused the question ({error.code}: {detail})"
        raise ServerCannotTellError(said) from None
    except (OSError, HTTPException) as error:
        raise LwexpError(
            f"{url}: the server does not answer ({error}); check that it runs and that this is its address"
        ) from None
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, kind):
        raise ServerCannotTellError(f"{url}: the reply has no {kind.__name__} called {field}")
    return found
