"""Answers written elsewhere: matched to the bench by the prompt's text and id, never by position."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lwexp.extend.rows import GivenAnswer
from lwexp.records import Failure, LwexpError, Prompt, Response, Sampling, first_problem, read_json_lines
from lwexp.sample.pairing import Numbered, Paired, pair
from lwexp.text.encodable import Replaced, encodable_json
from lwexp.text.reasoning import UNFINISHED, split_reasoning, with_reasoning
from lwexp.text.words import Counter, count_by

_TEXT = ("response", "text", "answer", "output")  # the first is the release's name, the second ours
_REASONING = ("reasoning_content", "reasoning")  # what servers call it; the second is ours, too
_ID = ("prompt_id", "id")
_FINISH = ("stop", "length", "error")
# Words of servers for a text that did not end by itself; what came before is no answer.
_BROKEN_OFF = {
    "error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource", "content_filter",
    "sensitive", "safety", "recitation",
}  # fmt: skip
_NAMED = 3  # missing answers that a message names

log = logging.getLogger(__name__)


def read_responses(
    path: Path,
    prompts: Sequence[Prompt],
    counter: Counter = "longwriter",
    *,
    bench: str,
    failures: list[Failure] | None = None,
) -> list[Response]:
    """Read answers to a bench, in bench order.

    A line is an object with the answer under ``response`` (or text, answer, output) and the prompt's text under
    ``prompt``: the release's pred.jsonl, or lwexp's responses.jsonl. If it also has the prompt's id, under
    ``prompt_id`` or id, both must agree; an id alone needs the bench's name, under ``bench`` or before the id.
    Optional: repeat, model, finish_reason, sampling, reasoning_content. Words are counted again here. Reasoning within
    an answer is kept beside it; an answer that ends within its reasoning, and a prompt that no line answers, get an
    empty response with finish_reason "error", which counts as missing.

    Args:
        path: The file.
        prompts: Of the bench.
        counter: How words are counted.
        bench: The bench's name.
        failures: Filled with the answers that end within their reasoning.

    Raises:
        LwexpError: If a line cannot be read, answers no prompt of this bench, leaves in doubt which, or repeats an
            answer.
    """
    if not path.is_file():
        raise LwexpError(f"responses={path}: the file does not exist (wanted: JSONL, one answer per line)")
    answers = [Numbered(f"line {number}", _given(row, f"{path} line {number}")) for number, row in _rows(path)]
    paired = pair(answers, prompts, bench=bench, origin=f"responses={path}")
    found = {(response := _response(one, path.stem, counter)).id: response for one in paired}
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
            "%s: %d of %d answers are missing and enter no mean: %s%s",
            path, len(absent), len(ordered), ", ".join(absent[:_NAMED]), ", ..." if len(absent) > _NAMED else "",
        )  # fmt: skip
    return ordered


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


def _given(row: dict[str, Any], where: str) -> GivenAnswer:
    texts = {key: row[key] for key in _TEXT if key in row}
    text = next(iter(texts.values()))
    if not isinstance(text, str | None):
        raise LwexpError(f"responses={where}: the answer must be text, got {text!r:.60}")
    if other := next((key for key, value in texts.items() if value != text), None):
        raise LwexpError(
            f"responses={where}: {next(iter(texts))} and {other} hold different texts; keep the one that is the answer"
        )
    try:
        sampling = Sampling.model_validate(row["sampling"]) if row.get("sampling") and text is not None else None
    except ValidationError as error:
        raise LwexpError(f"responses={where}: sampling: {first_problem(error)}") from None
    # "length" is the requested length in the release's rows; elsewhere it may be the answer's.
    asked = row.get("length") if "response_length" in row else row.get("required_words")
    return GivenAnswer(
        text=text,
        prompt=str(row["prompt"]) if row.get("prompt") else None,
        ids=tuple(str(row[key]) for key in _ID if row.get(key) not in (None, "")),
        bench=str(row["bench"]) if row.get("bench") else None,
        required_words=asked if isinstance(asked, int) else None,
        repeat=_repeat(row, where),
        model=str(row["model"]) if row.get("model") else None,
        reasoning=next((row[key] for key in _REASONING if isinstance(row.get(key), str)), ""),
        finish_reason=row.get("finish_reason"),
        sampling=sampling,
    )


def _response(one: Paired, name: str, counter: Counter) -> Response:
    answer = one.answer
    blank = Response.unanswered(one.prompt, answer.repeat, answer.model or name, answer.sampling)
    if answer.text is None:  # how other tools write an answer that never arrived
        return blank
    if str(answer.finish_reason).lower() in _BROKEN_OFF:
        return blank if answer.text.strip() else blank.model_copy(update={"reasoning": answer.reasoning})
    reason = answer.finish_reason if answer.finish_reason in _FINISH else "unknown"
    split = split_reasoning(answer.text)
    # A server that separates reasoning itself sends an empty text if the tokens ran out within it.
    is_finished = split.is_finished and not (reason == "length" and answer.reasoning and not split.answer.strip())
    filled = {
        "text": split.answer, "words": count_by(counter, split.answer),
        "reasoning": with_reasoning(answer.reasoning, split), "finish_reason": reason if is_finished else "error",
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
