"""Checks answers beyond their scores: writes checks.jsonl and, by segment, positions.jsonl."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lwexp.extend.endpoint import AskedJudge, Judge
from lwexp.extend.metric import Marks
from lwexp.records import AnswerCheck, Response, SegmentCheck, write_rows
from lwexp.runs.artifacts import CHECKS, POSITIONS
from lwexp.score.metrics.quality import QualityMetric
from lwexp.score.texts import Segment, segments, shares_by_segment
from lwexp.text.judge_injection import signs_to_judge
from lwexp.text.length_instructions import instruction_in, length_deviation, life_score, obeyed_score
from lwexp.text.loops import looped_words, without_loop
from lwexp.text.next_turn import find_next_turn, without_next_turn
from lwexp.text.plain import plural
from lwexp.text.words import Counter as WordCounter
from lwexp.text.words import count_by, count_words, split_words

log = logging.getLogger(__name__)

_EARLY = 2  # an answer stopped early if it has less than 1/2 of the words asked for


def check_texts(
    responses: Sequence[Response],
    judge: Judge,
    *,
    parts: int,
    seed: int,
    out_dir: Path,
    counter: WordCounter = "longwriter",
    root: Path | None = None,
) -> tuple[list[AnswerCheck], list[SegmentCheck]]:
    """Write ``checks.jsonl`` and ``positions.jsonl`` for the answers that arrived.

    Args:
        responses: In the order of the files.
        judge: Judges each segment of an answer if ``judge.segments`` is set, through the same ledger.
        parts: The largest number of segments of an answer.
        seed: The run's seed.
        out_dir: An existing folder.
        counter: How the bench counts words.
        root: As in ``score_responses``.

    Raises:
        LwexpError: If the judge cannot be used at all.
    """
    came = [response for response in responses if response.finish_reason != "error"]
    texts = {response.id: segments(response.text, parts) for response in came}
    checks = [check(response, texts[response.id], counter) for response in came]
    write_rows(out_dir / CHECKS, checks)
    outcomes: Mapping[str, Marks | str] = {}
    if isinstance(judge, AskedJudge) and judge.segments:
        outcomes = _judge(came, texts, judge, seed, out_dir, root)
    positions = [row for response in came for row in _positions(response, texts[response.id], outcomes)]
    write_rows(out_dir / POSITIONS, positions)
    flags = Counter(flag for row in checks for flag in row.directed)
    named = ", ".join(f"{flag.replace('_', ' ')} {count}" for flag, count in flags.most_common())
    log.info(
        "%s: %d stopped early, %d ended in a loop, %d ran on into the next turn, %d addressed the judge%s",
        plural(len(came), "answer"), sum(row.stopped_early for row in checks), sum(row.loops for row in checks),
        sum(bool(row.next_turn) for row in checks), sum(bool(row.directed) for row in checks),
        f" ({named})" if named else "",
    )  # fmt: skip
    return checks, positions


def check(response: Response, texts: Sequence[Segment], counter: WordCounter = "longwriter") -> AnswerCheck:
    """Check one answer; ``texts`` are its segments."""
    words = [word for part in texts for word in part.words]
    looped = looped_words(words)
    turn = find_next_turn(response.text)
    answer = without_next_turn(response.text)
    # The loop may be in the answer or in the next turn, so it is searched for again in the text that is left.
    is_looped = looped > 0 if answer == response.text else looped_words(split_words(answer)) > 0
    clean = without_loop(answer) if is_looped else answer
    return AnswerCheck(
        **_obeyed(response),
        response_id=response.id,
        words_longwriter=count_words(response.text),
        words_unicode=len(words),
        stopped_early=response.finish_reason not in ("length", "loop")
        and response.words * _EARLY < (response.required_words or 0),
        loops=looped > 0,
        looped_words=looped,
        directed=signs_to_judge(response.text),
        reasoning_words=count_by(counter, response.reasoning),
        next_turn=turn.rule if turn else "",
        words_without_next_turn=response.words if answer == response.text else count_by(counter, answer),
        clean_words=response.words if clean == response.text else count_by(counter, clean),
    )


def _obeyed(response: Response) -> dict[str, Any]:
    """Scores of the length that obey the prompt's instruction; none if it asks for no length."""
    asked, words = response.required_words, response.words
    if asked is None:
        return {}
    rule = response.length_rule or instruction_in(response.prompt, asked)
    deviation = length_deviation(rule, asked, words)
    return {
        "length_rule": rule.kind, "S_l_obeyed": obeyed_score(rule, asked, words), "length_deviation": deviation,
        "life_score": life_score(deviation),
    }  # fmt: skip


def _key(id: str, segment: int) -> str:
    return f"{id}|segment {segment}"


def _judge(
    responses: Iterable[Response],
    texts: Mapping[str, Sequence[Segment]],
    judge: AskedJudge,
    seed: int,
    out_dir: Path,
    root: Path | None,
) -> Mapping[str, Marks | str]:
    """Segment key -> S_q, or why there is none. An answer of a single segment is judged again, as a part."""
    from lwexp.score.judging import JudgeRequest, ask_judge

    metric = QualityMetric()
    prompt = metric.judge_prompt(judge.prompt)
    requests = []
    for response in responses:
        parts = texts[response.id]
        for number, part in enumerate(parts):
            if part.text.strip():
                shown = response.model_copy(update={"text": part.text})
                question = metric.question(shown, prompt, part=(number + 1, len(parts)))
                requests.append(JudgeRequest(_key(response.id, number), question))
    return ask_judge(requests, judge, about="segments", seed=seed, folder=out_dir, root=root)


def _positions(
    response: Response, texts: Sequence[Segment], outcomes: Mapping[str, Marks | str]
) -> Iterable[SegmentCheck]:
    shares_of = shares_by_segment([part.words for part in texts])
    for number, (part, shares) in enumerate(zip(texts, shares_of, strict=True)):
        outcome = outcomes.get(_key(response.id, number))
        marks = outcome if isinstance(outcome, Marks) else None
        yield SegmentCheck(
            response_id=response.id, segment=number, segments=len(texts), words=len(part.words),
            repeated=shares.repeated, distinct=shares.distinct,
            quality=marks.score if marks else None, dimensions=dict(marks.dimensions) if marks else {},
            unscored_reason=outcome if isinstance(outcome, str) else None,
        )  # fmt: skip
