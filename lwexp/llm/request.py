"""A request: everything that shapes an answer, and nothing else. It is sent, and its hash is the ledger's key."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.price import takes_schema

Request = dict[str, Any]


def make_request(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, str]],
    seed: int,
    max_tokens: int | None,
    response_schema: type[BaseModel] | None,
) -> Request:
    """A request to an endpoint; the arguments are those of ``Client.ask``."""
    request: Request = {
        "model": endpoint.model,
        "messages": list(messages),
        "max_tokens": max_tokens or endpoint.max_tokens,
        "top_p": endpoint.top_p,
        "seed": seed,
        **endpoint.parameters(),
    }
    if endpoint.temperature is not None:
        request["temperature"] = endpoint.temperature
    if response_schema is not None and takes_schema(endpoint):
        schema = {"name": response_schema.__name__, "schema": response_schema.model_json_schema()}
        request["response_format"] = {"type": "json_schema", "json_schema": {**schema, "strict": True}}
    return request


def prompt_bytes(request: Request) -> int:
    """Bytes of all that is read: the messages, their frames, and the schema of the answer."""
    schema = json.dumps(request.get("response_format", "")).encode()
    return len(schema) + sum(len(message["content"].encode()) + 16 for message in request["messages"])
