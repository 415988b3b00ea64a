"""Builds requests and reads litellm's answers as ``Reply``.

A request holds everything that shapes an answer and nothing else; its hash is the ledger's key. Finish reasons come
from the provider's own word, and token counts are made storable.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from lwexp.extend.endpoint import Endpoint
from lwexp.llm.answer import Reply
from lwexp.llm.errors import Fault
from lwexp.llm.price import takes_schema
from lwexp.text.encodable import encodable

Request = dict[str, Any]

_MOST_TOKENS = 1 << 40
_REASONING = ("reasoning_content", "reasoning")  # fields in which servers with a reasoning parser put it

# litellm turns words that it does not know into "stop", and keeps the provider's own word in a second field.
_STOP = {
    "stop", "stop_sequence", "end_turn", "complete", "completed", "eos", "eos_token", "end", "done", "finished", "none",
}  # fmt: skip
_LENGTH = {
    "length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_length", "model_length", "token_limit",
    "model_context_window_exceeded",
}  # fmt: skip
_FILTER = {
    "content_filter", "content_filtered", "sensitive", "safety", "refusal", "recitation", "blocklist", "spii",
    "prohibited_content", "guardrail_intervened", "error_toxic", "language", "blocked",
}  # fmt: skip


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
    """Bytes of everything that the model reads: messages, their frames, and the schema of the answer."""
    schema = json.dumps(request.get("response_format", "")).encode()
    return len(schema) + sum(len(message["content"].encode()) + 16 for message in request["messages"])


def read_reply(answer: Any, body: str = "") -> Reply:
    """Read litellm's answer.

    Args:
        answer: litellm's own object.
        body: The JSON that came over the wire, for what the object leaves out.

    Raises:
        Fault: If it is not a usable answer.
    """
    try:
        if not answer.choices:
            raise Fault("garbage", "an answer without choices", "retry", may_have_cost=True)
        choice, usage = answer.choices[0], getattr(answer, "usage", None)
        details = getattr(usage, "prompt_tokens_details", None)
        text, replaced = encodable(choice.message.content or "")
        reasoning = next((found for name in _REASONING if (found := getattr(choice.message, name, None))), "")
        return Reply(
            text=text,
            finish_reason=_finish_reason(choice, body),
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            cached_tokens=_count(details, "cached_tokens"),
            replaced=replaced,
            reasoning=encodable(str(reasoning).strip()).value,
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise Fault("garbage", f"an answer that cannot be read: {error}", "retry", may_have_cost=True) from None


def _finish_reason(choice: Any, body: str) -> str:
    """stop, length or content_filter, or the provider's own word, which means that the text is not finished."""
    beside = {**_beside_at_proxy(body), **(getattr(choice, "provider_specific_fields", None) or {})}
    if beside.get("error"):
        return "error"
    word = str(beside.get("native_finish_reason") or choice.finish_reason or "stop")
    known = (("stop", _STOP), ("length", _LENGTH), ("content_filter", _FILTER))
    return next((ours for ours, words in known if word.lower() in words), word)


def _beside_at_proxy(body: str) -> Mapping[str, Any]:
    """What litellm's proxy knows of the first choice and litellm's client drops: the provider's own finish reason.

    The proxy answers "stop" for words that it does not know, as the client does, so half a text looks like a whole one
    (litellm 1.106 to 1.108).
    """
    if '"native_finish_reason"' not in body:
        return {}
    try:
        beside = json.loads(body)["choices"][0]["provider_specific_fields"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}
    return beside if isinstance(beside, Mapping) else {}


def _count(usage: Any, name: str) -> int:
    """A token count in whatever form it arrives: missing, null, 100.0, or too large for SQLite."""
    return min(max(0, int(getattr(usage, name, None) or 0)), _MOST_TOKENS)
