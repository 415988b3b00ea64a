"""All answers of a bench, one row each, kept as they come: stopping loses at most the answers under way."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from lwexp.config.evaluate import SampleConfig
from lwexp.records import LwexpError, Prompt, Response, RowLog, Sampling, read_rows, tally, write_rows
from lwexp.words import count_words

log = logging.getLogger(__name__)

T = TypeVar("T")


def collect(
    prompts: Sequence[Prompt], *, model: Path, model_name: str, sample: SampleConfig, seed: int, out: Path
) -> list[Response]:
    """Answer every prompt ``sample.repeats`` times.

    Args:
        prompts: In bench order.
        model: Folder with weights and tokenizer. Not opened when all answers are there.
        model_name: Stored in each response.
        sample: Decoding; stored in each response.
        seed: Of the run. Repeat r draws with ``repeat_seed(seed, r)``, which is stored in its responses.
        out: JSONL of responses. What it holds already is not sampled again.

    Returns:
        The responses in bench order, the repeats of a prompt together; ``out`` ends in that order.

    Raises:
        LwexpError: If two prompts share an id, or ``out`` holds answers of another model or to other prompts; and
            as ``TransformersEngine``.
    """
    prompt_of = {prompt.id: prompt for prompt in prompts}
    if len(prompt_of) < len(prompts):
        twice = Counter(prompt.id for prompt in prompts).most_common(1)[0][0]
        raise LwexpError(f"prompt id {twice} comes twice; ids must be unique, because answers are kept by id")
    blank = {response.id: response for response in _unanswered(prompts, model_name, sample, seed)}
    with RowLog(out) as file:
        have = {row.id: row for row in read_rows(out, Response)}
        _refuse_strangers(have.values(), blank, out)
        missing = [id for id in blank if id not in have]
        if have and missing:
            log.info("%s: %d of %d answers are there, going on", out, len(have), len(blank))
        if missing:
            from lwexp.sample.engine import Ask, TransformersEngine

            asks = [Ask(id, prompt_of[blank[id].prompt_id], repeat_seed(seed, blank[id].repeat)) for id in missing]
            for answer in _shown(TransformersEngine(model).answers(asks, sample), len(asks)):
                row = blank[answer.id].model_copy(
                    update={
                        "text": answer.text,
                        "words": count_words(answer.text),
                        "finish_reason": answer.finish_reason,
                    }
                )
                file.append(row)
                have[row.id] = row
    responses = [have[id] for id in blank]
    write_rows(out, responses)
    _report(responses)
    return responses


def repeat_seed(seed: int, repeat: int) -> int:
    """The sampling seed of a repeat: 48 bits, so that repeat 1 of seed 0 is never repeat 0 of seed 1."""
    return int.from_bytes(hashlib.blake2b(f"{seed}|{repeat}".encode(), digest_size=6).digest(), "big")


def _unanswered(prompts: Sequence[Prompt], model_name: str, sample: SampleConfig, seed: int) -> Iterable[Response]:
    """Every response as it will be, but without its text."""
    for prompt in prompts:
        for repeat in range(sample.repeats):
            yield Response(
                id=f"{prompt.id}#{repeat}",
                prompt_id=prompt.id,
                repeat=repeat,
                prompt=prompt.text,
                language=prompt.language,
                type=prompt.type,
                required_words=prompt.required_words,
                text="",
                words=0,
                finish_reason="error",
                model=model_name,
                sampling=Sampling(
                    temperature=sample.temperature,
                    top_p=sample.top_p,
                    top_k=sample.top_k,
                    repetition_penalty=sample.repetition_penalty,
                    max_new_tokens=sample.max_new_tokens,
                    seed=repeat_seed(seed, repeat),
                ),
            )


def _refuse_strangers(rows: Iterable[Response], blank: dict[str, Response], out: Path) -> None:
    """Answers that this command would not give must not be mixed with those it will."""
    for row in rows:
        wanted = blank.get(row.id)
        if wanted is None or row.model_copy(update={"text": "", "words": 0, "finish_reason": "error"}) != wanted:
            raise LwexpError(
                f"{out}: {row.id} is from another bench, model or sampling; remove the file to sample anew"
            )


def _report(responses: Sequence[Response]) -> None:
    reasons = Counter(response.finish_reason for response in responses)
    empty = sum(response.words == 0 for response in responses)
    log.info(
        "answers: %s (%d ended by themselves, %d cut at max_new_tokens, %d empty)",
        tally(len(responses), len(responses), []), reasons["stop"], reasons["length"], empty,
    )  # fmt: skip


def _shown(items: Iterable[T], total: int) -> Iterable[T]:
    """Pass items on, with a progress bar where somebody can see it."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, "answers", total=total, console=Console(stderr=True))
