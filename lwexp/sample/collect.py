"""All answers of a bench, one row each, kept as they come: stopping loses at most the answers under way."""

import hashlib
import logging
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lwexp.config.evaluate import ApiEngine, SampleConfig
from lwexp.records import Failure, LwexpError, Prompt, Response, RowLog, Sampling, read_rows, tally, write_rows
from lwexp.runs.artifacts import ANSWER_FAILURES, ENGINE_LEDGER
from lwexp.runs.progress import counted
from lwexp.sample.requests import SampleRequest, SampleResult
from lwexp.text.plan_text import after_plan
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
    chat: str | None = None,
    counter: Counter = "longwriter",
) -> list[Response]:
    """Answer every prompt ``sample.repeats`` times.

    Args:
        prompts: In bench order.
        model: Folder with weights and tokenizer, or a model behind an API. Not opened when all answers are there.
        model_name: Stored in each response.
        sample: Decoding; stored in each response.
        seed: Of the run. Repeat r draws with ``repeat_seed(seed, r)``, which is stored in its responses.
        out: JSONL of responses. What it holds already is not sampled again. Answers that never came stand in
            ``answer_failures.jsonl`` beside it, and in ``out`` with finish_reason "error"; a second start asks for
            them again.
        chat: Chat format of a folder that no run of ours has saved.
        counter: How words are counted.

    Returns:
        The responses in bench order, the repeats of a prompt together; ``out`` ends in that order.

    Raises:
        LwexpError: If two prompts share an id, or ``out`` holds answers of another model or to other prompts; and
            as ``TransformersEngine`` or ``llm.Client.ask``.
        KeyboardInterrupt: After Ctrl-C, when calls in flight have ended; ``Preempted`` after SIGTERM.
    """
    prompt_of = {prompt.id: prompt for prompt in prompts}
    if len(prompt_of) < len(prompts):
        twice = Counts(prompt.id for prompt in prompts).most_common(1)[0][0]
        raise LwexpError(f"prompt id {twice} comes twice; ids must be unique, because answers are kept by id")
    blank = {response.id: response for response in _unanswered(prompts, model_name, sample, seed)}
    failures: list[Failure] = []
    with RowLog(out) as file:
        have = {row.id: row for row in read_rows(out, Response) if row.finish_reason != "error"}
        _refuse_strangers(have.values(), blank, out)
        missing = [id for id in blank if id not in have]
        if have and missing:
            log.info("%s: %d of %d answers are there, going on", out, len(have), len(blank))
        if missing:
            asks = [
                SampleRequest(id, prompt_of[blank[id].prompt_id], repeat_seed(seed, blank[id].repeat)) for id in missing
            ]

            def keep(answer: SampleResult | Failure) -> None:
                """Store an answer under its own id, whichever came before it."""
                if isinstance(answer, Failure):
                    failures.append(answer)
                    return
                text = after_plan(answer.text) if sample.after_plan else answer.text
                filled = {"text": text, "words": count_by(counter, text), "finish_reason": answer.finish_reason}
                row = blank[answer.id].model_copy(update=filled)
                file.append(row)
                have[row.id] = row

            _answer(asks, model, sample, chat, out.parent, keep)
    responses = [have.get(id, row) for id, row in blank.items()]
    write_rows(out, responses)
    _note_failures(failures, blank, out.parent / ANSWER_FAILURES)
    _report(responses, failures)
    return responses


def _answer(
    asks: Sequence[SampleRequest],
    model: Path | ApiEngine,
    sample: SampleConfig,
    chat: str | None,
    folder: Path,
    keep: Callable[[SampleResult | Failure], None],
) -> None:
    """Give each answer to ``keep`` as soon as it is there."""
    with counted("answers", len(asks)) as count:

        def keep_and_advance(answer: SampleResult | Failure) -> None:
            keep(answer)
            count.advance()

        if isinstance(model, ApiEngine):
            from lwexp.sample.remote import ask_all

            ask_all(asks, model, sample, folder / ENGINE_LEDGER, keep_and_advance)
            return
        from lwexp.sample.engine import TransformersEngine

        for answer in TransformersEngine(model, chat=chat).answers(asks, sample):
            keep_and_advance(answer)


def repeat_seed(seed: int, repeat: int) -> int:
    """The sampling seed of a repeat: 48 bits, so that repeat 1 of seed 0 is never repeat 0 of seed 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{repeat}".encode(), digest_size=6).digest(), "big")


def _unanswered(prompts: Sequence[Prompt], model_name: str, sample: SampleConfig, seed: int) -> Iterable[Response]:
    """Every response as it will be, but without its text."""
    for prompt in prompts:
        for repeat in range(sample.repeats):
            sampling = Sampling(
                temperature=sample.temperature,
                top_p=sample.top_p,
                top_k=sample.top_k,
                repetition_penalty=sample.repetition_penalty,
                max_new_tokens=sample.max_new_tokens,
                seed=repeat_seed(seed, repeat),
            )
            yield Response.unanswered(prompt, repeat, model_name, sampling)


def _refuse_strangers(rows: Iterable[Response], blank: dict[str, Response], out: Path) -> None:
    """Answers that this command would not give must not be mixed with those it will."""
    for row in rows:
        wanted = blank.get(row.id)
        if wanted is None or row.model_copy(update={"text": "", "words": 0, "finish_reason": "error"}) != wanted:
            raise LwexpError(
                f"{out}: {row.id} is from another bench, model or sampling; remove the file to sample anew"
            )


def _note_failures(failures: Sequence[Failure], blank: Mapping[str, Response], path: Path) -> None:
    """Write why answers never came, in bench order; no file where all came."""
    if failures:
        order = {id: number for number, id in enumerate(blank)}
        ordered: list[Failure] = sorted(failures, key=lambda failure: order[failure.id])
        write_rows(path, ordered)
    else:
        path.unlink(missing_ok=True)


def _report(responses: Sequence[Response], failures: Sequence[Failure]) -> None:
    reasons = Counts(response.finish_reason for response in responses)
    empty = sum(response.words == 0 for response in responses if response.finish_reason != "error")
    lost = [failure.reason for failure in failures]
    log.info(
        "answers: %s (%d ended by themselves, %d cut at max_new_tokens, %d empty)",
        tally(len(responses), len(responses) - len(lost), lost), reasons["stop"], reasons["length"], empty,
    )  # fmt: skip
