"""Answers written elsewhere: matched to the bench by id or by the prompt's text, never by position."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lwexp.records import Failure, LwexpError, Prompt, Response, Sampling, first_problem, read_json_lines
from lwexp.text.encodable import Replaced, encodable_json
from lwexp.text.reasoning import UNFINISHED, split_reasoning, with_reasoning
from lwexp.text.words import Counter, count_by

_TEXT = ("response", "text", "answer", "output")  # the first is the release's name, the second ours
_REASONING = ("reasoning_content", "reasoning")  # what servers call it; the second is ours, too
_ID = ("prompt_id", "id")
_FINISH = ("stop", "length", "error")
_NAMED = 3  # unknown or duplicate lines that a message names

log = logging.getLogger(__name__)


def read_responses(
    path: Path, prompts: Sequence[Prompt], counter: Counter = "longwriter", *, failures: list[Failure] | None = None
) -> list[Response]:
    """Read answers to a bench, in bench order.

    A line is an object with the answer under ``response`` (or text, answer, output) and the prompt's id under
    ``prompt_id`` (or id), or else its text under ``prompt``: the release's pred.jsonl, or lwexp's responses.jsonl.
    Optional: repeat, model, finish_reason, sampling, reasoning_content. Words are counted again here. Reasoning within
    an answer is kept beside it; an answer that ends within its reasoning, and a prompt that no line answers, get an
    empty response with finish_reason "error", which counts as unscored.

    Args:
        path: The file.
        prompts: Of the bench.
        counter: How words are counted.
        failures: Filled with the answers that end within their reasoning.

    Raises:
        LwexpError: If a line cannot be read, answers no prompt of this bench, or repeats an answer.
    """
    if not path.is_file():
        raise LwexpError(f"responses={path}: the file does not exist (wanted: JSONL, one answer per line)")
    by_id = {prompt.id: prompt for prompt in prompts}
    by_text: dict[str, Prompt] = {}
    for asked in prompts:
        by_text.setdefault(_plain(asked.text), asked)
    found: dict[str, Response] = {}
    lines: dict[str, int] = {}
    unknown: list[str] = []
    again: list[str] = []
    for number, row in _rows(path):
        where = f"{path} line {number}"
        named = [by_id[str(row[key])] for key in _ID if str(row.get(key)) in by_id]
        prompt = named[0] if named else by_text.get(_plain(str(row.get("prompt", ""))))
        if prompt is None:
            shown = next((row[key] for key in (*_ID, "prompt") if row.get(key)), None)
            unknown.append(f"line {number} ({str(shown)[:60]!r})")
            continue
        response = _response(row, prompt, where, path.stem, counter)
        if response.id in found:
            again.append(f"line {number} answers {prompt.id} as line {lines[response.id]} does")
            continue
        found[response.id], lines[response.id] = response, number
    _refuse(path, unknown, "are to prompts that this bench does not have (choose the right bench= and bench.range=)")
    _refuse(path, again, 'come twice; keep one, or give each a "repeat": 0, 1, ...')
    unfinished = [response for response in found.values() if response.finish_reason == "error" and response.reasoning]
    if failures is not None:
        failures += [_unfinished(response, counter) for response in unfinished]
    return _in_bench_order(prompts, found, path)


def _in_bench_order(prompts: Sequence[Prompt], found: dict[str, Response], path: Path) -> list[Response]:
    repeats = 1 + max((response.repeat for response in found.values()), default=0)
    model = next(iter(found.values())).model if found else path.stem
    ordered = [
        found.get(f"{prompt.id}#{repeat}") or Response.unanswered(prompt, repeat, model, None)
        for prompt in prompts
        for repeat in range(repeats)
    ]
    if reasoned := sum(bool(response.reasoning) for response in ordered):
        log.info("%s: %d answers hold reasoning, which is kept beside them", path, reasoned)
    absent = [response.id for response in ordered if response.finish_reason == "error"]
    if absent:
        log.warning(
            "%s: %d of %d answers are missing and count as unscored: %s%s",
            path, len(absent), len(ordered), ", ".join(absent[:_NAMED]), ", ..." if len(absent) > _NAMED else "",
        )  # fmt: skip
    return ordered


def _plain(text: str) -> str:
    """A prompt's text for comparison: other tools may change line ends and outer blanks."""
    return text.replace("\r\n", "\n").strip()


def _rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    unstorable = Replaced()
    for number, raw in read_json_lines(path, key="responses="):
        row, replaced = encodable_json(raw)
        unstorable.count(replaced, "rows")
        if not isinstance(row, dict) or not any(key in row for key in _TEXT):
            raise LwexpError(
                f"responses={path} line {number}: no answer; wanted an object with response, and prompt or prompt_id"
            )
        rows.append((number, row))
    if not rows:
        raise LwexpError(f"responses={path}: the file has no answers")
    if unstorable:
        log.warning("%s: %s", path, unstorable)
    return rows


def _response(row: dict[str, Any], prompt: Prompt, where: str, name: str, counter: Counter) -> Response:
    text = next(row[key] for key in _TEXT if key in row)
    if not isinstance(text, str | None):
        raise LwexpError(f"responses={where}: the answer must be text, got {text!r:.60}")
    try:
        sampling = Sampling.model_validate(row["sampling"]) if row.get("sampling") and text is not None else None
    except ValidationError as error:
        raise LwexpError(f"responses={where}: sampling: {first_problem(error)}") from None
    blank = Response.unanswered(prompt, _repeat(row, where), str(row.get("model") or name), sampling)
    if text is None:  # how other tools write an answer that never arrived
        return blank
    reason = row.get("finish_reason")
    reason = reason if reason in _FINISH else "unknown"
    split = split_reasoning(text)
    beside = next((row[key] for key in _REASONING if isinstance(row.get(key), str)), "")
    filled = {
        "text": split.answer, "words": count_by(counter, split.answer), "reasoning": with_reasoning(beside, split),
        "finish_reason": reason if split.is_finished else "error",
    }  # fmt: skip
    return blank.model_copy(update=filled)


def _unfinished(response: Response, counter: Counter) -> Failure:
    detail = f"{count_by(counter, response.reasoning):,} words of reasoning and no answer"
    return Failure(id=response.id, stage="sample", reason=UNFINISHED, detail=detail, attempts=1)


def _repeat(row: dict[str, Any], where: str) -> int:
    repeat = row.get("repeat", 0)
    if type(repeat) is not int or not 0 <= repeat < 1000:
        raise LwexpError(f"responses={where}: repeat must be a whole number from 0 on, got {repeat!r:.40}")
    return repeat


def _refuse(path: Path, lines: Sequence[str], problem: str) -> None:
    if lines:
        more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
        raise LwexpError(f"responses={path}: {len(lines)} answers {problem}: {'; '.join(lines[:_NAMED])}{more}")
