"""Pieces that several formats share: columns beside an answer, texts of messages, and how a generation ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from lwexp.extend.columns import BrokenRowError, JsonRow
from lwexp.extend.rows import GivenAnswer
from lwexp.records import Sampling, first_problem, parse_json

# The first name is the release's, the second is lwexp's.
ANSWER_COLUMNS = ("response", "text", "answer", "output", "completion", "generation", "generated_text", "prediction")

_MODEL = ("model", "model_name", "model_id", "generator")  # the last is AlpacaEval's
_REASONING = ("reasoning_content", "reasoning")  # names that servers use; lwexp uses the second

# Names that servers and tools give to the same ends.
_ENDS = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "max_new_tokens": "length", "max_length": "length",
    "max_output_tokens": "length", "model_length": "length",
}  # fmt: skip


def finish(reason: object) -> str:
    """``stop`` or ``length`` for a word that means the same; any other word is returned unchanged."""
    return _ENDS.get(str(reason).lower(), str(reason))


def text_of(content: object) -> tuple[str, str]:
    """Text and reasoning of a message's content: a string, or a list of parts.

    Raises:
        BrokenRowError: If it is neither.
    """
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, Sequence):
        raise BrokenRowError("wrong_type", f"a message's content is {content!r:.60}, wanted text or a list of parts")
    parts = [part for part in content if isinstance(part, Mapping)]
    texts = [str(part["text"]) for part in parts if isinstance(part.get("text"), str)]
    thoughts = [str(part["reasoning"]) for part in parts if isinstance(part.get("reasoning"), str)]
    return "".join(texts), "\n\n".join(thoughts)


def failure_in(error: object) -> str:
    """Code and message of an error; empty without an error."""
    if not isinstance(error, Mapping):
        return str(error or "")
    found = (error.get("code") or error.get("type"), error.get("message"))
    return ": ".join(str(part) for part in found if part)


def last_of(messages: object, *roles: str) -> str | None:
    """The text of the last message with one of these roles; None if there is none."""
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        return None
    own = [m for m in messages if isinstance(m, Mapping) and str(m.get("role", m.get("from"))).lower() in roles]
    return text_of(own[-1].get("content", own[-1].get("value", own[-1].get("prompt"))))[0] if own else None


def prompt_in(value: Any) -> str | None:
    """The prompt in a request: text, messages, or messages written as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = parse_json(value)
        except ValueError:
            return str(value)
    return value if isinstance(value, str) else last_of(value, "user", "human")


def named(row: Mapping[str, Any], *columns: str) -> tuple[str, ...]:
    """The ids in a row's columns, as text."""
    return tuple(str(row[column]) for column in columns if row.get(column) not in (None, ""))


def with_columns(row: JsonRow, text: str | None, prompt: str | None) -> GivenAnswer:
    """An answer with what the row's columns say about it: ids, bench, requested length, repeat, model and so on.

    Raises:
        BrokenRowError: If ``sampling`` or ``repeat`` is wrong.
    """
    try:
        sampling = Sampling.model_validate(row["sampling"]) if row.get("sampling") and text is not None else None
    except ValidationError as error:
        raise BrokenRowError("wrong_type", f"sampling: {first_problem(error)}") from None
    repeat = _whole(row.get("repeat", 0))
    if type(repeat) is not int or not 0 <= repeat < 1000:
        raise BrokenRowError("wrong_type", f"repeat must be a whole number from 0 on, got {repeat!r:.40}")
    # "length" is the requested length in the release's rows; elsewhere it may be the answer's.
    asked = _whole(row.get("length") if "response_length" in row else row.get("required_words"))
    reason = row.get("finish_reason")
    return GivenAnswer(
        text=text,
        prompt=prompt,
        ids=named(row, "prompt_id", "id", "custom_id"),
        bench=str(row["bench"]) if row.get("bench") else None,
        required_words=asked if isinstance(asked, int) else None,
        repeat=repeat,
        model=next((str(row[column]) for column in _MODEL if row.get(column)), None),
        reasoning=reasoning_of(row),
        finish_reason=finish(reason) if reason else None,
        sampling=sampling,
        scores=row["scores"] if isinstance(row.get("scores"), Mapping) else {},
        judge=str(row["judge"]) if row.get("judge") else None,
    )


def _whole(value: object) -> object:
    """600 for 600.0, which a table has if another row's cell is empty; any other value is returned unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def reasoning_of(row: JsonRow) -> str:
    """The reasoning in a field of its own; empty if there is none."""
    return next((row[key] for key in _REASONING if isinstance(row.get(key), str)), "")
