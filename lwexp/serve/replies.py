"""Replies in OpenAI's format."""

import time
import uuid
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """The end of an answer."""

    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


def reply(model: str, kind: str) -> dict[str, Any]:
    """The fields of a completion, or of every chunk of one, without its choices."""
    id, created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
    return {"id": id, "object": kind, "created": created, "model": model}


def error_reply(status: int, message: str) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = "model_not_found" if status == 404 else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
