"""A running server, and requests to it."""

import json
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from lwexp.sample.engine import TransformersEngine
from lwexp.serve.live_decoder import LiveDecoder

TEXTS = [
    "Write about tea",
    "Hello rivers",
    "Old maps there",
    "请写一篇关于茶的文章。",
    "Hello there, old maps.",
    "tea",
    "a",
    "b",
]


class Served(NamedTuple):
    url: str
    engine: TransformersEngine
    decoder: LiveDecoder


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 40,
        **more,
    }


def post(served: Served, body: Any, path: str = "/v1/chat/completions") -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urlopen(Request(served.url + path, data, {"Content-Type": "application/json"}), timeout=60) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)
