"""Reads a model's reply: one JSON object, bare or in a code fence, or nothing."""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lwexp.records import first_problem

M = TypeVar("M", bound=BaseModel)

_REASONING = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


class UnreadableError(ValueError):
    """A reply that is not what was asked for; the message tells the model what is wrong."""


def without_reasoning(text: str) -> str:
    """Cut out <think> blocks, which servers without a reasoning parser leave in the answer."""
    return _REASONING.sub("", text)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``object_pairs_hook`` for ``json``, which by itself takes the last of equal keys.

    Raises:
        UnreadableError: If a key stands twice.
    """
    if len(dict(pairs)) < len(pairs):
        raise UnreadableError("it has a key twice")
    return dict(pairs)


def read_object(reply: str, schema: type[M], *, mends: Callable[[str, dict[str, Any]], bool] | None = None) -> M:
    """Read a reply that is one JSON object. Text around it is refused: it may come from the text being judged.

    Args:
        reply: As it came.
        schema: What the object must be.
        mends: Whether the object that ``json_repair`` makes of broken JSON may be used; None repairs nothing.

    Raises:
        UnreadableError: If it is anything else.
    """
    text = reply.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    if not text.startswith("{"):
        raise UnreadableError("it does not start with a JSON object")
    try:
        value, end = json.JSONDecoder(object_pairs_hook=unique_keys).raw_decode(text)
    except json.JSONDecodeError:
        value, end = _mended(text, mends), len(text)
    if text[end:].strip():
        raise UnreadableError("there is text after the JSON object")
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        raise UnreadableError(first_problem(error)) from None


def _mended(text: str, mends: Callable[[str, dict[str, Any]], bool] | None) -> dict[str, Any]:
    if mends is not None:
        import json_repair

        value = json_repair.loads(text)
        if isinstance(value, dict) and mends(text, value):
            return value
    raise UnreadableError("it is not valid JSON")
