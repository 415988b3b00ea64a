"""Whether a server reads prompts as training did: the same tokens, through its own tokenizer and chat template."""

import json
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lwexp.config.evaluate import SampleConfig
from lwexp.extend import ChatFormat
from lwexp.pack.chat import chat_of, encode_prompt
from lwexp.pack.tokenizer import load_tokenizer
from lwexp.records import LwexpError, Message, Prompt, parse_json
from lwexp.sample.folder_check import refuse_beyond_positions
from lwexp.text.plain import first_difference

_CHECKED_PROMPTS = 8


class ServedModel(NamedTuple):
    """A model behind a server."""

    url: str  # without /v1
    name: str
    positions: int | None
    """None if the server does not say."""


def served_model(url: str, name: str) -> ServedModel:
    """The model that a server offers under this name.

    Args:
        url: Without ``/v1``.
        name: The model's name on the server.

    Raises:
        ServerCannotTellError: If the server has no list of models.
        OtherModelError: If the server offers other models only. Some servers take any name, whatever they list.
        LwexpError: If the server does not answer.
    """
    rows = {str(row["id"]): row for row in _called(f"{url}/v1/models", "data") if isinstance(row, dict) and "id" in row}
    if not rows:
        raise ServerCannotTellError(f"{url}: its list of models names none")
    if name not in rows:
        raise OtherModelError(f"{url} serves {', '.join(rows)}, not {name}: another server has this address")
    positions = rows[name].get("max_model_len")
    return ServedModel(url, name, positions if isinstance(positions, int) else None)


def check_prompts(
    served: ServedModel, prompts: Sequence[Prompt], sample: SampleConfig, model: Path, chat: ChatFormat | str | None
) -> None:
    """Refuse a server that reads prompts as other tokens than training did, or whose positions are too few.

    Args:
        served: Asked through ``/tokenize``, which vLLM and ``lwexp serve`` have.
        prompts: The first few and the longest are compared.
        sample: Its max_new_tokens must fit after the longest prompt.
        model: Folder whose tokenizer and chat format are expected.
        chat: Chat format of a folder that lwexp has not saved.

    Raises:
        ServerCannotTellError: If the server has no ``/tokenize``.
        LwexpError: If the tokens differ or the positions are too few.
    """
    url = served.url
    tokenizer = load_tokenizer(model, revision=None, chat=chat)
    template = chat_of(tokenizer)
    longest = max(prompts, key=lambda prompt: len(prompt.text))
    for prompt in (*prompts[:_CHECKED_PROMPTS], longest):
        messages = [{"role": "user", "content": prompt.text}]
        question = {"model": served.name, "messages": messages, "add_generation_prompt": True}
        theirs = _called(f"{url}/tokenize", "tokens", question | {"add_special_tokens": False})
        if not theirs:
            raise ServerCannotTellError(f"{url}: /tokenize gives no tokens for messages")
        ours = encode_prompt(tokenizer, template, [Message(role="user", content=prompt.text)]).tolist()
        if theirs != ours:
            at = first_difference(theirs, ours)
            raise LwexpError(
                f"{url}: prompt {prompt.id} has {len(theirs)} tokens on the server, {len(ours)} in training, "
                f"and they differ from token {at} on: the server does not use the tokenizer and chat template of "
                f"{model}; serve that folder, or export the run again"
            )
    if served.positions is not None:
        refuse_beyond_positions(url, len(ours), sample.max_new_tokens, served.positions)


class ServerCannotTellError(LwexpError):
    """The server does not answer this question."""


class OtherModelError(ServerCannotTellError):
    """The server lists other models only."""


def _called(url: str, field: str, body: dict[str, Any] | None = None) -> list[Any]:
    """A list in the JSON reply; POST with a body, else GET."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=60) as reply:
            return list(parse_json(reply.read())[field])
    except HTTPError as error:
        detail = error.read(300).decode(errors="replace")
        said = f"{url}: the server refused the question ({error.code}: {detail})"
        raise ServerCannotTellError(said) from None
    except (OSError, HTTPException) as error:
        raise LwexpError(f"{url}: the server does not answer ({error})") from None
    except (ValueError, KeyError, TypeError):
        raise ServerCannotTellError(f"{url}: the reply has no list called {field}") from None
