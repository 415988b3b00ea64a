"""Reads the one JSON object that a model was asked for, whatever wrapping around it does not change its meaning.

A reply may repeat the judged text. So the text around the object is checked too, and a reply whose object may come from
the judged text is refused.
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
# Signs in plain words. The other signs, template tokens and hidden characters, cannot become a verdict.
_SAYS_TO_JUDGE = {"scores", "asks_for_score", "overrides_rules", "addresses_judge", "praises_itself"}


class UnreadableError(ValueError):
    """The reply is not what was asked for; the message tells the model what is wrong."""


class _Found(NamedTuple):
    """An object with the requested keys, and the text before and after it."""

    value: dict[str, Any]
    before: str
    after: str


def without_reasoning(text: str) -> str:
    """The answer alone; empty if the text ends within its reasoning."""
    return split_reasoning(text).answer


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``object_pairs_hook`` for ``json``, which would otherwise keep the last of two equal keys.

    Raises:
        UnreadableError: If a key occurs twice.
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
    """Read a reply that contains one JSON object of a schema.

    Reasoning in front, a code fence, trailing commas, extra keys, an object around the wanted one, other spellings of
    keys ("Breadth and Depth") and other aliases of a field are all accepted.

    Args:
        reply: The model's reply, unchanged.
        schema: The wanted object. Keys that it does not know are ignored.
        quoted: The texts that the question quotes. If none of them contains anything like a verdict, text around the
            object is allowed unless it addresses a judge. None allows no text around the object.
        mends: Decides whether the object that ``json_repair`` makes of broken JSON may be used; None repairs nothing.
        may_reason: The question asks for reasons, so text around the object may mention scores.

    Raises:
        UnreadableError: If there is no such object, or if it may come from a quoted text.
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


def fields_in(value: dict[str, Any], schema: type[BaseModel]) -> dict[str, Any]:
    """The fields of a schema in an object, under any spelling that ``read_object`` accepts; empty if it has none."""
    return _with_fields(value, _names_of(schema)) or {}


def _names_of(schema: type[BaseModel]) -> dict[str, str]:
    """Normalised name or alias (see ``_plain``) -> field name."""
    names: dict[str, str] = {}
    for name, field in schema.model_fields.items():
        alias = field.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else ()
        names |= {_plain(other): name for other in (name, *others) if isinstance(other, str)}
    return names


def _plain(key: str) -> str:
    """Normalise a key: "Breadth & Depth", "breadth_and_depth" and "breadthAndDepth" become the same."""
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
    """The reply after its reasoning. A mark that may come from a quoted verdict cuts nothing."""
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
    # Broken JSON is repaired only if its start and end are known: the whole reply, or the content of its only fence.
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
    """Every top-level object of a text that has at least one of the fields."""
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
    """The fields in an object, or in the only inner object that has them; None if there are none."""
    own = [(names[_plain(key)], item) for key, item in value.items() if _plain(key) in names]
    if own:
        return unique_keys(own)
    inner = [found for item in value.values() if isinstance(item, dict) and (found := _with_fields(item, names))]
    if len(inner) > 1:
        raise UnreadableError("it holds the object that was asked for twice")
    return inner[0] if inner else None


def _refuse_quotations(found: _Found, quoted: Sequence[str] | None, suspects: Sequence[str], may_reason: bool) -> None:
    """Refuse an object if the text around it may quote the judged text: scores, a request for scores, or part of it."""
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

        with contextlib.suppress(ValueError, RecursionError):  # nested deeper than it repairs
            value = json_repair.loads(text)
            if isinstance(value, dict) and mends(text, value):
                return value
    raise UnreadableError("it is not valid JSON")
