"""Collects all answers to a bench, storing each as it arrives: stopping loses only the answers being written."""

import hashlib
import logging
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lwexp.config.evaluate import ApiEngine, SampleConfig, ServerEngine
from lwexp.extend import ChatFormat
from lwexp.records import Failure, LwexpError, Prompt, Response, RowLog, Sampling, read_rows, tally, write_rows
from lwexp.runs.artifacts import ANSWER_FAILURES
from lwexp.runs.progress import shown
from lwexp.sample.local.progress import AnswerProgress
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.text.encodable import encodable
from lwexp.text.plain import plural
from lwexp.text.plan_text import after_plan
from lwexp.text.reasoning import UNFINISHED, split_reasoning, with_reasoning
from lwexp.text.words import Counter, count_by

log = logging.getLogger(__name__)


def collect(
    prompts: Sequence[Prompt],
    *,
    model: Path | ApiEngine,
    model_name: str,
    sample: SampleConfig,
    seed: int,
    out: Path,
    chat: ChatFormat | str | None = None,
    counter: Counter = "longwriter",
    root: Path | None = None,
    server: ServerEngine | None = None,
    expected: Path | None = None,
    workers: int | None = 1,
) -> list[Response]:
    """Answer every prompt ``sample.repeats`` times.

    Args:
        prompts: In bench order.
        model: Folder with weights and tokenizer, or a model behind an API. Not opened if no answer is missing.
        model_name: Stored in each response.
        sample: Decoding settings, stored in each response.
        seed: The run's seed. Repeat r draws with ``repeat_seed(seed, r)``, which is stored in its responses.
        out: JSONL of responses. Answers that it already holds are not sampled again. Missing answers are listed
            in ``answer_failures.jsonl`` beside it, and are in ``out`` with finish_reason "error"; the next start asks
            for them again.
        chat: Chat format of a model folder that lwexp has not saved.
        counter: How words are counted.
        root: Folder of the runs that share their paid answers; None shares with no run.
        server: How to serve a model folder; None decodes it here.
        expected: Folder that a server behind an API should serve; None if that is not known.
        workers: ``engine.workers`` of a model folder that is decoded here.

    Returns:
        The responses in bench order, the repeats of a prompt together; at the end, ``out`` has that order too.

    Raises:
        LwexpError: If two prompts share an id, or ``out`` holds answers of another model or to other prompts; also as
            in ``TransformersEngine`` or ``llm.Client.ask``.
        KeyboardInterrupt: After Ctrl-C, when calls in flight have ended; ``Preempted`` after SIGTERM.
    """
    prompt_of = _by_id(prompts)
    blank = {response.id: response for response in _unanswered(prompts, model_name, sample, seed)}
    failures: list[Failure] = []
    with RowLog(out) as file:
        have = {row.id: row for row in read_rows(out, Response) if row.finish_reason != "error"}
        _refuse_other_answers(have.values(), blank, out)
        missing = [(id, row) for id, row in blank.items() if id not in have]
        requests = [SampleRequest(id, prompt_of[row.prompt_id], repeat_seed(seed, row.repeat)) for id, row in missing]
        if have and requests:
            log.info("%s: found %d of %s, sampling the rest", out, len(have), plural(len(blank), "answer"))

        def keep(answer: SampleResult | Failure) -> None:
            """Store an answer under its own id; answers may arrive in any order."""
            progress.finish(answer)
            row = _filled(blank[answer.id], answer, counter, after_plan=after_plan if sample.plan_first else str)
            if isinstance(row, Failure):
                failures.append(row)
                return
            file.append(row)
            have[row.id] = row

        if requests:
            progress = AnswerProgress(requests)
            with shown("answers", progress):
                _answer(
                    requests, model, sample, chat=chat, folders=(out.parent, root), server=server, expected=expected,
                    workers=workers, keep=keep, written=progress.write,
                )  # fmt: skip
    responses = [have.get(id, row) for id, row in blank.items()]
    write_rows(out, responses)
    _write_failures(failures, blank, out.parent / ANSWER_FAILURES)
    _report(responses, failures)
    return responses


def _by_id(prompts: Sequence[Prompt]) -> dict[str, Prompt]:
    prompt_of = {prompt.id: prompt for prompt in prompts}
    if len(prompt_of) < len(prompts):
        twice = Counts(prompt.id for prompt in prompts).most_common(1)[0][0]
        raise LwexpError(f"prompt id {twice} comes twice; ids must be unique, because answers are kept by id")
    return prompt_of


def _filled(
    blank: Response, answer: SampleResult | Failure, counter: Counter, *, after_plan: Callable[[str], str]
) -> Response | Failure:
    """Complete a response: the answer's reasoning goes into a field of its own. A failure is returned unchanged."""
    if isinstance(answer, Failure):
        return answer
    # A local model may write NUL or half an emoji; a provider's text has already been cleaned.
    split = split_reasoning(encodable(answer.text).value)
    reasoning = with_reasoning(answer.reasoning, split)
    if not split.is_finished:
        detail = f"{count_by(counter, reasoning):,} words of reasoning and no answer; raise sample.max_new_tokens"
        return Failure(id=answer.id, stage="sample", reason=UNFINISHED, detail=detail, attempts=1)
    text = after_plan(split.answer)
    filled = {
        "text": text, "words": count_by(counter, text), "finish_reason": answer.finish_reason, "reasoning": reasoning,
    }  # fmt: skip
    return blank.model_copy(update=filled)


def _answer(
    requests: Sequence[SampleRequest],
    model: Path | ApiEngine,
    sample: SampleConfig,
    *,
    chat: ChatFormat | str | None,
    folders: tuple[Path, Path | None],
    server: ServerEngine | None,
    expected: Path | None,
    workers: int | None,
    keep: Callable[[SampleResult | Failure], None],
    written: Callable[[int], None],
) -> None:
    """Pass each answer to ``keep`` when it is complete, and numbers of tokens to ``written`` if they are known.

    ``folders`` are the run's and the root of other runs.
    """
    folder, root = folders
    if isinstance(model, ApiEngine):
        from lwexp.sample.servers.given import answer_by_given_server

        answer_by_given_server(requests, model, expected, sample, chat=chat, folder=folder, root=root, keep=keep)
        return
    if server is not None:
        from lwexp.sample.servers.managed import answer_by_server

        answer_by_server(requests, server, model, sample, chat=chat, folder=folder, keep=keep)
        return
    from lwexp.sample.local.answering import answer_here

    answer_here(requests, model, sample, chat=chat, workers=workers, folder=folder, keep=keep, written=written)


def repeat_seed(seed: int, repeat: int) -> int:
    """The sampling seed of a repeat: 48 bits, so that repeat 1 of seed 0 is never repeat 0 of seed 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{repeat}".encode(), digest_size=6).digest(), "big")


def _unanswered(prompts: Sequence[Prompt], model_name: str, sample: SampleConfig, seed: int) -> Iterable[Response]:
    """Every response, complete except for its text."""
    parameters = {name: getattr(sample, name) for name in Sampling.model_fields if name != "seed"}
    for prompt in prompts:
        for repeat in range(sample.repeats):
            sampling = Sampling(**parameters, seed=repeat_seed(seed, repeat))
            yield Response.unanswered(prompt, repeat, model_name, sampling)


def _refuse_other_answers(rows: Iterable[Response], blank: Mapping[str, Response], out: Path) -> None:
    """Answers to other prompts, or of another model or sampling, must not be mixed with those of this command."""
    without_answer = {"text": "", "words": 0, "finish_reason": "error", "reasoning": ""}
    for row in rows:
        if row.model_copy(update=without_answer) != blank.get(row.id):
            raise LwexpError(
                f"{out}: {row.id} is from another bench, model or sampling; remove the file to sample again"
            )


def _write_failures(failures: Sequence[Failure], blank: Mapping[str, Response], path: Path) -> None:
    """Write why answers are missing, in bench order; no file if all arrived."""
    if failures:
        order = {id: number for number, id in enumerate(blank)}
        ordered: list[Failure] = sorted(failures, key=lambda failure: order[failure.id])
        write_rows(path, ordered)
    else:
        path.unlink(missing_ok=True)


def _report(responses: Sequence[Response], failures: Sequence[Failure]) -> None:
    reasons = Counts(response.finish_reason for response in responses)
    log.info(
        "answers: %s (%d ended by themselves, %d cut at max_new_tokens, %d empty)",
        tally(len(responses), len(responses) - len(failures), (failure.reason for failure in failures)),
        reasons["stop"], reasons["length"], sum(not row.words for row in responses if row.finish_reason != "error"),
    )  # fmt: skip
    if looped := reasons["loop"]:
        log.info("%s stopped in a loop (sample.stop_after_repeats)", plural(looped, "answer"))
    if reasoned := sum(bool(row.reasoning) for row in responses):
        log.info("%s with reasoning, which is kept separately", plural(reasoned, "answer"))
