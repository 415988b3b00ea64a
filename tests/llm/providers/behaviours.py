"""How providers behave, each by a name. The shapes are those that public threads quote."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
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


Behaviour = Callable[[Call], Response]
BEHAVIOURS: dict[str, Behaviour] = {}

USAGE = {"prompt_tokens": 100, "completion_tokens": 60, "total_tokens": 160}


def behaviour(function: Behaviour) -> Behaviour:
    """Make a behaviour known by its function's name."""
    BEHAVIOURS[function.__name__] = function
    return function


def completion(text: Any, finish: str | None = "stop", *, usage: Any = USAGE, **message: Any) -> Response:
    """A chat completion; ``usage=...`` (the ellipsis) leaves usage out."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    if usage is ...:
        del body["usage"]
    return Response(200, json.dumps(body).encode())


def refusal(status: int, message: str, *, code: Any = None, param: str | None = None, **headers: str) -> Response:
    """An error in OpenAI's form."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Response(status, json.dumps({"error": error}).encode(), headers=headers)


@behaviour
def healthy(call: Call) -> Response:
    return completion(call.good)


def broken_text(kind: str) -> Behaviour:
    """Half an emoji and a NUL behind the good answers of one kind."""

    def act(call: Call) -> Response:
        return completion(call.good + " \ud83d\x00" * (call.kind == kind))

    return act


BEHAVIOURS |= {f"broken_{kind}": broken_text(kind) for kind in ("plan", "paragraph", "select", "judge")}


@behaviour
def broken_for_bakers(call: Call) -> Response:
    """One document's paragraphs alone."""
    return completion(call.good + " \ud83d" * ("bakers" in call.prompt and call.kind == "paragraph"))


@behaviour
def huge_numbers(call: Call) -> Response:
    """Numbers of 5,000 digits where numbers are wanted."""
    nines = "9" * 5000
    answers = {
        "plan": f"Paragraph 1 - Main Point: x - Word Count: {nines} words",
        "select": f'{{"needs_long_output": {nines}}}',
        "judge": f'{{"relevance": {nines}}}',
    }
    return completion(answers.get(call.kind, call.good))


@behaviour
def huge_usage(call: Call) -> Response:
    """Token counts that no column holds."""
    return completion(call.good, usage={"prompt_tokens": 10**30, "completion_tokens": 10**30, "total_tokens": 1})


@behaviour
def deep_json(call: Call) -> Response:
    """JSON deeper than Python reads."""
    return completion('{"a":' * 100_000 if call.kind != "paragraph" else call.good)


@behaviour
def hangs(call: Call) -> Response:
    """A server that takes the request and says nothing."""
    if call.number > 1:
        time.sleep(8)
    return completion(call.good)


def topic_number(call: Call) -> int:
    """The number of "story, part N" in the instruction; 0 where there is none."""
    found = re.search(r"story, part (\d+)", call.prompt)
    return int(found[1]) if found else 0
