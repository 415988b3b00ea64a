"""Reads a model's reply: the one JSON object that was asked for, in whatever wrapping does not change its meaning.

A reply may repeat what the judged text says. So what stands around the object is looked at, and where the object may
come from the judged text, the reply is not read.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from lwexp.records import first_problem
from lwexp.text.judge_injection import injection_flags
from lwexp.text.reasoning import REASONING_MARKS, split_reasoning

M = TypeVar("M", bound=BaseModel)

_PAIRED = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
_FENCE = re.compile(r"```(?:[jJ][sS][oO][nN])?\s*(.*?)\s*```", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_BYTE_ORDER_MARK = "\ufeff"
_LONGEST_KEY = 40  # characters
# What a text says to a judge in words; template tokens and hidden characters cannot become a verdict.
_SAYS_TO_JUDGE = {"scores", "asks_for_score", "overrides_rules", "addresses_judge", "praises_itself"}


class UnreadableError(ValueError):
    """A reply that is not what was asked for; the message tells the model what is wrong."""


class _Found(NamedTuple):
    """An object with the keys that were asked for, and the text before and after it."""

    value: dict[str, Any]
    before: str
    after: str


def without_reasoning(text: str) -> str:
    """The answer alone; empty where the text ends within its reasoning."""
    return split_reasoning(text).answer


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``object_pairs_hook`` for ``json``, which by itself takes the last of equal keys.

    Raises:
        UnreadableError: If a key stands twice.
    """
    if len(dict(pairs)) < len(pairs):
        raise UnreadableError("it has a key twice")
    return dict(pairs)


def read_object(
    reply: str,
    schema: type[M],
    *,
    quoted: Sequence[str] | None = None,
    mends: Callable[[str, dict[str, Any]], bool] | None = None,
    may_reason: bool = False,
) -> M:
    """Read a reply that holds one JSON object of a schema.

    Reasoning in front, a code fence, trailing commas, further keys, an outer object around the wanted one, and keys in
    other spellings ("Breadth and Depth") or by another alias of their field make no difference.

    Args:
        reply: As it came.
        schema: What the object must be. Keys that are no field of it are left out.
        quoted: The texts that the question quotes. Where none of them holds anything like a verdict, text around the
            object is let through, too, unless it talks to a judge. None lets none through.
        mends: Whether the object that ``json_repair`` makes of broken JSON may be used; None repairs nothing.
        may_reason: The question asks for reasons, so that text around the object may name scores.

    Raises:
        UnreadableError: If it is anything else, or if the object may come from a quoted text.
    """
    names = _names_of(schema)
    suspects = [text for text in quoted or () if _holds_verdict(text, names)]
    text = _without_reasoning(reply.lstrip(_BYTE_ORDER_MARK), None if quoted is None else suspects).strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1]
    try:
        found = _one_object(text, names, mends)
    except RecursionError:
        raise UnreadableError("its JSON is nested too deeply") from None
    if found.before.strip() or found.after.strip():
        _refuse_quotations(found, quoted, suspects, may_reason)
    try:
        return schema.model_validate(found.value)
    except ValidationError as error:
        raise UnreadableError(first_problem(error)) from None


def _names_of(schema: type[BaseModel]) -> dict[str, str]:
    """Every spelling of a field's names, as ``_plain`` makes it -> the field."""
    names: dict[str, str] = {}
    for name, field in schema.model_fields.items():
        alias = field.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else ()
        names |= {_plain(other): name for other in (name, *others) if isinstance(other, str)}
    return names


def _plain(key: str) -> str:
    """ "Breadth & Depth", "breadth_and_depth" and "breadthAndDepth" are one."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower())
    return "".join(word for word in words if word != "and")


def _holds_verdict(text: str, names: Mapping[str, str]) -> bool:
    """Whether a quoted text gives one of the fields a value, in an object or in words."""
    spellings = tuple(names)
    return any(
        _plain(text[max(0, sign.start() - _LONGEST_KEY) : sign.start()]).endswith(spellings)
        for sign in re.finditer("[:=\uff1a]", text)
    )


def _without_reasoning(reply: str, suspects: Sequence[str] | None) -> str:
    """The reply behind its reasoning. Nothing is cut at a mark that a quoted verdict may have brought along."""
    if suspects is None:
        return _PAIRED.sub("", reply)
    if any(REASONING_MARKS.search(text) for text in suspects):
        return reply
    split = split_reasoning(reply)
    if not split.is_finished:
        raise UnreadableError("it ends within its reasoning")
    return split.answer


def _one_object(text: str, names: Mapping[str, str], mends: Callable[[str, dict[str, Any]], bool] | None) -> _Found:
    found = list(_objects(text, names)) or list(_objects(_TRAILING_COMMA.sub(r"\1", text), names))
    if len(found) > 1:
        raise UnreadableError(f"it holds {len(found)} JSON objects of the kind that was asked for, wanted one")
    if found:
        return found[0]
    # Broken JSON is mended only where its two ends are known: the whole reply, or what is in its one fence.
    fences = list(_FENCE.finditer(text))
    whole = fences[0] if len(fences) == 1 else re.fullmatch(r"(.*)", text, re.DOTALL)
    assert whole is not None, "everything matches"
    if not whole[1].startswith("{"):
        raise UnreadableError("it does not start with a JSON object")
    fields = _with_fields(_mended(whole[1], mends), names)
    if fields is None:
        raise UnreadableError(f"it has no key {' or '.join(dict.fromkeys(names.values()))}")
    return _Found(fields, text[: whole.start()], text[whole.end() :])


def _objects(text: str, names: Mapping[str, str]) -> Iterator[_Found]:
    """Every object of a text that has at least one of the fields; objects within objects are not searched."""
    decoder = json.JSONDecoder(object_pairs_hook=unique_keys)
    at = text.find("{")
    while at >= 0:
        end = at + 1
        try:
            value, end = decoder.raw_decode(text, at)
        except UnreadableError:
            raise
        except ValueError:  # a brace in prose
            value = None
        if isinstance(value, dict) and (fields := _with_fields(value, names)) is not None:
            yield _Found(fields, _outside_fence(text[:at]), _outside_fence(text[end:]))
        at = text.find("{", end)


def _outside_fence(text: str) -> str:
    return re.sub(r"```(?:[jJ][sS][oO][nN])?", "", text)


def _with_fields(value: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any] | None:
    """The fields in an object, or in the one object within it that has them; None where there are none."""
    own = [(names[_plain(key)], item) for key, item in value.items() if _plain(key) in names]
    if own:
        return unique_keys(own)
    inner = [found for item in value.values() if isinstance(item, dict) and (found := _with_fields(item, names))]
    if len(inner) > 1:
        raise UnreadableError("it holds the object that was asked for twice")
    return inner[0] if inner else None


def _refuse_quotations(found: _Found, quoted: Sequence[str] | None, suspects: Sequence[str], may_reason: bool) -> None:
    """Refuse an object with text around it that may be a quotation: of scores, of a request for them, of a part."""
    around = f"{found.before}\n{found.after}"
    is_doubtful = (
        quoted is None
        or bool(suspects)
        or found.before.count("{") > found.before.count("}")  # within an object that could not be read
        or (not may_reason and bool(injection_flags(around)))
        or (not may_reason and any(_SAYS_TO_JUDGE & set(injection_flags(text)) for text in quoted))
    )
    if is_doubtful and found.before.strip():
        raise UnreadableError("it does not start with a JSON object")
    if is_doubtful:
        raise UnreadableError("there is text after the JSON object")


def _mended(text: str, mends: Callable[[str, dict[str, Any]], bool] | None) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        return dict(json.loads(text))
    if mends is not None:
        import json_repair

        value = json_repair.loads(text)
        if isinstance(value, dict) and mends(text, value):
            return value
    raise UnreadableError("it is not valid JSON")
