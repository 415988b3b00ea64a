"""The room's first job: every response gets its verdicts, in order, in one file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.config.llm import Judge, LiteLLMJudge, NoJudge, OfflineJudge
from lwexp.llm.errors import may_pass
from lwexp.records import Judgement, LwexpError, Response, Verdict, tally, write_json, write_rows
from lwexp.score.agreement import krippendorff_alpha, mean_absolute_difference
from lwexp.score.length import length_verdict
from lwexp.score.quality import (
    Scores,
    judgement,
    outcome_without_judge,
    quality_verdict,
    read_scores,
    read_scores_in_prose,
    reask,
)
from lwexp.score.template import JudgePrompt

if TYPE_CHECKING:
    from lwexp.score.judging import Question

log = logging.getLogger(__name__)


def is_transient(reason: str | None) -> bool:
    """Whether another start may mend it: the model could not be reached, rather than gave nothing usable."""
    return may_pass(reason)


def score_responses(responses: Sequence[Response], judge: Judge, *, seed: int, out_dir: Path) -> list[Verdict]:
    """Score responses, and write ``out_dir / "verdicts.jsonl"``: per response its length, then its quality.

    A re-run asks the judge nothing that ``out_dir / "ledger.sqlite"`` answers; verdicts follow from the ledger, so
    they are made anew. What the judge gave no reply to is asked again. When the run is stopped, the verdicts so far
    are written all the same. With a judge there are also judgements.jsonl and judge.json.

    Args:
        responses: With unique ids; their order is the file's.
        judge: With kind none there are no quality verdicts.
        seed: Of the run; sent with every question to the judge.
        out_dir: An existing folder.

    Raises:
        LwexpError: If an id comes twice, or the judge cannot be used at all.
    """
    ids = [response.id for response in responses]
    if len(set(ids)) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise LwexpError(f"response id {twice} comes twice; ids must be unique, because verdicts refer to them")
    if isinstance(judge, NoJudge):
        log.info("lengths of %d answers scored; no quality, because judge=none", len(responses))
        return _write(out_dir, responses, {})
    prompt = JudgePrompt(judge.prompt)
    judgements = _judge_all(responses, judge, prompt, seed, out_dir)
    verdicts = _write_judged(out_dir, responses, judge.model, judgements)
    quality = [verdict for verdict in verdicts if verdict.kind == "quality"]
    reasons = [verdict.unscored_reason or "" for verdict in quality if verdict.score is None]
    counts = tally(len(responses), len(responses) - len(reasons), reasons)
    log.info("quality by %s: %s", judge.model, counts)
    # An empty answer, which no judge saw, would count as perfect agreement.
    seen = [judgements[response.id] for response in responses if outcome_without_judge(response) is None]
    agreement = _agreement(seen)
    write_json(
        out_dir / "judge.json",
        {
            "model": judge.model, "prompt": prompt.name, "prompt_sha256": prompt.sha256,
            "temperature": judge.temperature, "repeats": judge.repeats, "answers": counts.received,
            "scored": counts.kept, "unscored": counts.lost, **agreement,
        },
    )  # fmt: skip
    return verdicts


def question(
    response: Response,
    text: str,
    key: str,
    prompt: JudgePrompt,
    *,
    repeat: int = 0,
    part: tuple[int, int] | None = None,
) -> Question[Scores]:
    """The question for six scores of a text that answers ``response.prompt``."""
    from lwexp.score.judging import Question

    return Question(
        key=key,
        text=prompt.message(response.prompt, text, part),
        read=read_scores if prompt.is_ours else read_scores_in_prose,
        reask=reask,
        schema=Scores if prompt.is_ours else None,
        repeat=repeat,
    )


def _judge_all(
    responses: Sequence[Response], judge: LiteLLMJudge | OfflineJudge, prompt: JudgePrompt, seed: int, out_dir: Path
) -> dict[str, list[Judgement]]:
    """Response id -> its judgements, for all responses."""
    from lwexp.llm.ledger import Ledger
    from lwexp.score.judging import Judging

    judging: Judging[Scores] = Judging(judge, seed)
    to_ask = []
    for response in responses:
        for repeat in range(judge.repeats):
            key = f"{response.id}|{repeat}"
            outcome = outcome_without_judge(response)
            if outcome is None:
                to_ask.append(question(response, response.text, key, prompt, repeat=repeat))
            else:
                judging.outcomes[key] = outcome

    def judged() -> dict[str, list[Judgement]]:
        """What is there so far."""
        keys = {(r.id, repeat): f"{r.id}|{repeat}" for r in responses for repeat in range(judge.repeats)}
        found: dict[str, list[Judgement]] = {}
        for response in responses:
            there = [n for n in range(judge.repeats) if keys[response.id, n] in judging.outcomes]
            made = [judgement(response, n, judge.model, judging.outcomes[keys[response.id, n]]) for n in there]
            if made:
                found[response.id] = made
        return found

    # An offline verdict costs nothing to lose in a power cut; waiting for the disk would cost 3 ms each.
    with Ledger(out_dir / "ledger.sqlite", power_safe=judge.kind != "offline") as ledger:
        try:
            asyncio.run(judging.run(to_ask, ledger))
        except BaseException:
            so_far = judged()
            _write_judged(out_dir, responses, judge.model, so_far)
            log.info("stopped: %d of %d answers judged", len(so_far), len(responses))
            raise
    return judged()


def _write_judged(
    out_dir: Path, responses: Sequence[Response], scorer: str, judgements: Mapping[str, Sequence[Judgement]]
) -> list[Verdict]:
    write_rows(out_dir / "judgements.jsonl", (one for given in judgements.values() for one in given))
    by_id = {response.id: response for response in responses}
    return _write(
        out_dir, responses, {id: quality_verdict(by_id[id], scorer, given) for id, given in judgements.items()}
    )


def _write(out_dir: Path, responses: Sequence[Response], quality: Mapping[str, Verdict]) -> list[Verdict]:
    """Per response the verdict on its length, then that on its quality where there is one."""
    pairs = ((length_verdict(response), quality.get(response.id)) for response in responses)
    verdicts = [verdict for pair in pairs for verdict in pair if verdict is not None]
    write_rows(out_dir / "verdicts.jsonl", verdicts)
    return verdicts


def _agreement(judgements: Iterable[Sequence[Judgement]]) -> dict[str, object]:
    """How far the repeats agree, per dimension and on S_q."""
    given = [[one for one in found if one.score is not None] for found in judgements]
    s_q = [[one.score for one in found if one.score is not None] for found in given]
    alpha = {
        name: krippendorff_alpha([one.dimensions[name] for one in found] for found in given)
        for name in Scores.model_fields
    }
    alpha["S_q"] = krippendorff_alpha(s_q)
    return {
        "alpha": alpha,
        "mean_absolute_difference": mean_absolute_difference(s_q),
        "compared": sum(len(found) > 1 for found in given),
    }
