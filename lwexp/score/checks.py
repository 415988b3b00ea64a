"""Everything by position and by sign: checks.jsonl without a judge, positions.jsonl with one where it is wished."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lwexp.config.llm import Judge, NoJudge
from lwexp.records import Check, Position, Response, write_rows
from lwexp.score.directed import signs_of_direction
from lwexp.score.quality import Scores
from lwexp.score.template import JudgePrompt
from lwexp.score.texts import Segment, looped_words, segments, shares_by_segment
from lwexp.score.verdicts import question
from lwexp.text.words import count_words

log = logging.getLogger(__name__)

_EARLY = 2  # an answer stops early where it has less than 1/2 of what was asked for


def check_texts(
    responses: Sequence[Response], judge: Judge, *, parts: int, seed: int, out_dir: Path
) -> tuple[list[Check], list[Position]]:
    """Write ``checks.jsonl`` and ``positions.jsonl`` for the answers that came.

    Args:
        responses: In the order of the files.
        judge: Judges each part of an answer where ``judge.segments`` says so, through the same ledger.
        parts: Segments of an answer, at most.
        seed: Of the run.
        out_dir: An existing folder.

    Raises:
        LwexpError: If the judge cannot be used at all.
    """
    came = [response for response in responses if response.finish_reason != "error"]
    texts = {response.id: segments(response.text, parts) for response in came}
    checks = [check(response, texts[response.id]) for response in came]
    write_rows(out_dir / "checks.jsonl", checks)
    outcomes: Mapping[str, Scores | str] = {}
    if not isinstance(judge, NoJudge) and judge.segments:
        outcomes = _judge(came, texts, judge, seed, out_dir)
    positions = [row for response in came for row in _positions(response, texts[response.id], outcomes)]
    write_rows(out_dir / "positions.jsonl", positions)
    signs = Counter(sign for row in checks for sign in row.directed)
    named = ", ".join(f"{sign.replace('_', ' ')} {count}" for sign, count in signs.most_common())
    log.info(
        "texts: %d answers, %d stopped early, %d loop, %d talk to a judge%s",
        len(came), sum(row.stopped_early for row in checks), sum(row.loops for row in checks),
        sum(bool(row.directed) for row in checks), f" ({named})" if named else "",
    )  # fmt: skip
    return checks, positions


def check(response: Response, texts: Sequence[Segment]) -> Check:
    """What one answer, cut into segments, shows by itself."""
    words = [word for part in texts for word in part.words]
    looped = looped_words(words)
    return Check(
        response_id=response.id,
        words_longwriter=count_words(response.text),
        words_unicode=len(words),
        stopped_early=response.finish_reason != "length" and response.words * _EARLY < response.required_words,
        loops=looped > 0,
        looped_words=looped,
        directed=signs_of_direction(response.text),
    )


def _key(id: str, segment: int) -> str:
    return f"{id}|segment {segment}"


def _judge(
    responses: Iterable[Response],
    texts: Mapping[str, Sequence[Segment]],
    judge: Judge,
    seed: int,
    out_dir: Path,
) -> Mapping[str, Scores | str]:
    """Segment key -> six scores, or why there are none. An answer of one segment is judged again, as a part."""
    from lwexp.llm.ledger import Ledger
    from lwexp.score.judging import Judging

    assert not isinstance(judge, NoJudge)
    prompt = JudgePrompt(judge.prompt)
    judging: Judging[Scores] = Judging(judge, seed)
    questions = [
        question(response, part.text, _key(response.id, number), prompt, part=(number + 1, len(texts[response.id])))
        for response in responses
        for number, part in enumerate(texts[response.id])
        if part.text.strip()
    ]
    with Ledger(out_dir / "ledger.sqlite", power_safe=judge.kind != "offline") as ledger:
        asyncio.run(judging.run(questions, ledger))
    return judging.outcomes


def _positions(
    response: Response, texts: Sequence[Segment], outcomes: Mapping[str, Scores | str]
) -> Iterable[Position]:
    shares_of = shares_by_segment([part.words for part in texts])
    for number, (part, shares) in enumerate(zip(texts, shares_of, strict=True)):
        outcome = outcomes.get(_key(response.id, number))
        scores = outcome if isinstance(outcome, Scores) else None
        yield Position(
            response_id=response.id,
            segment=number,
            segments=len(texts),
            words=len(part.words),
            repeated=shares.repeated,
            distinct=shares.distinct,
            quality=scores.s_q if scores else None,
            dimensions=scores.as_floats() if scores else {},
            unscored_reason=outcome if isinstance(outcome, str) else None,
        )
