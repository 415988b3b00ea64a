"""Requests and responses of OpenAI's chat API, as they go over the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A request: its body, what it asks for, a good answer, its number for this model, its prompt, the test's state."""

    request: dict[str, Any]
    kind: str
    good: str
    number: int
    prompt: str
    state: dict[str, Any]


class Response(NamedTuple):
    """What goes over the wire."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = MappingProxyType({})


USAGE = {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160}


def completion(
    text: Any, finish: str | None = "stop", *, usage: Any = USAGE, beside: Any = None, **message: Any
) -> Response:
    """A chat completion.

    Args:
        text: The answer.
        finish: The choice's finish reason.
        usage: ``...`` (the ellipsis) leaves usage out.
        beside: ``provider_specific_fields`` of the choice, as litellm's proxy writes them; None leaves them out.
        message: Further fields of the message.
    """
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    if beside is not None:
        choice["provider_specific_fields"] = beside
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    if usage is ...:
        del body["usage"]
    return Response(200, json.dumps(body).encode())


def refusal(
    status: int, message: str, *, code: Any = None, param: str | None = None, type: str = "invalid_request_error"
) -> Response:
    """An error in OpenAI's form."""
    error = {"message": message, "type": type, "param": param, "code": code}
    return Response(status, json.dumps({"error": error}).encode())
