"""Answers written elsewhere: matched to the bench by the prompt's text and id, never by position."""

import logging
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path

from lwexp.extend.rows import GivenAnswer
from lwexp.records import Failure, LwexpError, Prompt, Response
from lwexp.sample.answer_files import read_answers
from lwexp.sample.pairing import Numbered, Paired, pair
from lwexp.text.plain import one_line, plural
from lwexp.text.reasoning import UNFINISHED, split_reasoning, with_reasoning
from lwexp.text.words import Counter, count_by

_FINISH = ("stop", "length", "loop", "error")
_NAMED = 3  # missing answers that a message names

log = logging.getLogger(__name__)


def read_responses(
    path: Path,
    prompts: Sequence[Prompt],
    counter: Counter = "longwriter",
    *,
    bench: str,
    whole: Sequence[Prompt] | None = None,
    failures: list[Failure] | None = None,
    scored: list[tuple[str, Paired]] | None = None,
) -> list[Response]:
    """Read answers to a bench, in bench order.

    The formats are those of ``lwexp.sample.answer_formats``. If a row has the prompt and its id, both must agree; an id
    alone needs the bench's name, under ``bench`` or before the id. Words are counted again here. Reasoning within an
    answer is kept beside it; an answer that ends within its reasoning, and a prompt that no row answers, get an empty
    response with finish_reason "error", which counts as missing.

    Args:
        path: A file of answers, or a folder of such files.
        prompts: Of the bench; those that are selected.
        counter: How words are counted.
        bench: The bench's name.
        whole: All prompts of the bench; None if all are selected. Answers to the others are left out, and counted.
        failures: Filled with the rows whose answer is missing, and why.
        scored: Filled with the answers that another judge has scored, each with its response's id.

    Raises:
        LwexpError: If a row cannot be read, answers no prompt of this bench, leaves in doubt which, or repeats an
            answer; or if the rows name several models.
    """
    answers = read_answers(path)
    model = _model_of(answers, path)
    paired = _selected(pair(answers, whole or prompts, bench=bench, origin=f"responses={path}"), prompts, path)
    responses = [response_to(one.prompt, one.answer, model, counter) for one in paired]
    found = {response.id: response for response in responses}
    if scored is not None:
        ids = ((f"{one.prompt.id}#{one.answer.repeat}", one) for one in paired if one.answer.scores)
        scored += [(id, one) for id, one in ids if found[id].finish_reason != "error"]
    if failures is not None:
        missing = (one for one in zip(paired, responses, strict=True) if one[1].finish_reason == "error")
        failures += [_failure(one.answer, response, counter) for one, response in missing]
    return _in_bench_order(prompts, found, model, path)


def _model_of(answers: Sequence[Numbered], path: Path) -> str:
    """The only model that the answers name, or the file's name; a failed request often names none, or a default."""
    found = Tally(one.answer.model for one in answers if one.answer.model and not one.answer.is_missing)
    if len(found) > 1:
        named = ", ".join(f"{one_line(model, 60)} ({plural(n, 'answer')})" for model, n in found.most_common(_NAMED))
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise LwexpError(
            f"responses={path}: the answers are of {len(found)} models: {named}{more}; give each model's answers "
            "as a file or folder of its own"
        )
    return next(iter(found), path.stem)


def _selected(paired: list[Paired], prompts: Sequence[Prompt], path: Path) -> list[Paired]:
    wanted = {prompt.id for prompt in prompts}
    kept = [one for one in paired if one.prompt.id in wanted]
    if len(kept) < len(paired):
        left_out = plural(len(paired) - len(kept), "answer")
        log.info("%s: %s to prompts outside the selection of this evaluation left out", path, left_out)
    return kept


def _in_bench_order(prompts: Sequence[Prompt], found: dict[str, Response], model: str, path: Path) -> list[Response]:
    repeats = sorted({response.repeat for response in found.values()}) or [0]  # others count them from 1, too
    ordered = [
        found.get(f"{prompt.id}#{repeat}") or Response.unanswered(prompt, repeat, model, None)
        for prompt in prompts
        for repeat in repeats
    ]
    if reasoned := sum(bool(response.reasoning) for response in ordered):
        log.info("%s: %d answers hold reasoning, which is kept beside them", path, reasoned)
    absent = [response.id for response in ordered if response.finish_reason == "error"]
    if absent:
        log.warning(
            "%s: %d of %d answers are missing and enter no mean: %s", path, len(absent), len(ordered), _first(absent)
        )
    empty = [response.id for response in ordered if response.finish_reason != "error" and not response.text.strip()]
    if empty:
        log.warning(
            "%s: %s empty, 0 words that count in every mean: %s; leave out the rows of answers that never came",
            path, "1 answer is" if len(empty) == 1 else f"{len(empty):,} answers are", _first(empty),
        )  # fmt: skip
    return ordered


def _first(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")


def response_to(prompt: Prompt, answer: GivenAnswer, name: str, counter: Counter) -> Response:
    """An answer as a response: reasoning is separated and words are counted.

    Args:
        prompt: The prompt that it answers.
        answer: As its tool wrote it. One that is missing, was broken off by the server or ends within its reasoning
            gives an empty response with finish_reason "error".
        name: The model's name, if the answer does not say it.
        counter: How words are counted.
    """
    blank = Response.unanswered(prompt, answer.repeat, answer.model or name, answer.sampling)
    if answer.text is None:  # other tools write a missing answer as null
        return blank
    if answer.is_missing:
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


def _failure(answer: GivenAnswer, response: Response, counter: Counter) -> Failure:
    if answer.text is None:
        reason = "request_failed" if answer.failure else "missing"
        detail = answer.failure or "the file does not say why"
    elif answer.is_missing and not response.reasoning:
        reason, detail = "broken_off", f"finish_reason {answer.finish_reason}"
    else:
        reason, detail = UNFINISHED, f"{count_by(counter, response.reasoning):,} words of reasoning and no answer"
    return Failure(id=response.id, stage="sample", reason=reason, detail=one_line(detail, 300), attempts=1)
