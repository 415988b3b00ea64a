"""The room's one job: every response gets its verdicts, in order, in one file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from lwexp.config.llm import Judge, LiteLLMJudge, NoJudge, OfflineJudge
from lwexp.records import LwexpError, Response, Verdict, tally, write_rows
from lwexp.score.length import length_verdict
from lwexp.score.quality import verdict_without_judge

log = logging.getLogger(__name__)


def score_responses(responses: Sequence[Response], judge: Judge, *, seed: int, out_dir: Path) -> list[Verdict]:
    """Score responses, and write ``out_dir / "verdicts.jsonl"``: per response its length, then its quality.

    A re-run asks the judge nothing that ``out_dir / "ledger.sqlite"`` answers; verdicts follow from the ledger, so
    they are made anew. What the judge gave no reply to is asked again. When the run is stopped, the verdicts so far
    are written all the same.

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
        quality: dict[str, Verdict] = {}
        log.info("lengths of %d answers scored; no quality, because judge=none", len(responses))
    else:
        quality = _judge_all(responses, judge, seed, out_dir)
        reasons = [verdict.unscored_reason or "" for verdict in quality.values() if verdict.score is None]
        log.info("quality by %s: %s", judge.model, tally(len(responses), len(responses) - len(reasons), reasons))
    return _write(out_dir, responses, quality)


def _judge_all(
    responses: Sequence[Response], judge: LiteLLMJudge | OfflineJudge, seed: int, out_dir: Path
) -> dict[str, Verdict]:
    """Response id -> verdict on its quality, for all responses."""
    from lwexp.llm.ledger import Ledger
    from lwexp.score.judging import Judging

    judging = Judging(judge, seed)
    to_ask = []
    for response in responses:
        if verdict := verdict_without_judge(response, judge.model):
            judging.verdicts[response.id] = verdict
        else:
            to_ask.append(response)
    # An offline verdict costs nothing to lose in a power cut; waiting for the disk would cost 3 ms each.
    with Ledger(out_dir / "ledger.sqlite", power_safe=judge.kind != "offline") as ledger:
        try:
            asyncio.run(judging.run(to_ask, ledger))
        except BaseException:
            _write(out_dir, responses, judging.verdicts)
            log.info("stopped: %d of %d answers judged", len(judging.verdicts), len(responses))
            raise
    return judging.verdicts


def _write(out_dir: Path, responses: Sequence[Response], quality: Mapping[str, Verdict]) -> list[Verdict]:
    verdicts = _ordered(responses, quality)
    write_rows(out_dir / "verdicts.jsonl", verdicts)
    return verdicts


def _ordered(responses: Sequence[Response], quality: Mapping[str, Verdict]) -> list[Verdict]:
    """Per response the verdict on its length, then that on its quality where there is one."""
    pairs = ((length_verdict(response), quality.get(response.id)) for response in responses)
    return [verdict for pair in pairs for verdict in pair if verdict is not None]
