"""Asks a judge which of two answers is better, in both orders, because judges favour one position."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from lwexp.extend.endpoint import AskedJudge
from lwexp.extend.metric import Question
from lwexp.records import PairJudgement, Response, write_rows
from lwexp.runs.artifacts import PAIR_JUDGEMENTS
from lwexp.runs.summaries import PairwiseSummary
from lwexp.stats.intervals import interval
from lwexp.text.quoting import code_of, fill
from lwexp.text.replies import read_object

log = logging.getLogger(__name__)

PAIR_PROMPT = Path(__file__).parent / "prompts" / "pair.txt"
Side = Literal["ours", "other"]
_ORDERS: tuple[Side, Side] = ("ours", "other")  # who is shown first


class Better(BaseModel):
    """A judge's choice; also the JSON schema that providers are asked to keep to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    better: Literal["first", "second", "tie"]

    @field_validator("better", mode="before")
    @classmethod
    def in_any_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value


def compare_pairwise(
    ours: Sequence[Response],
    others: Sequence[Response],
    other: str,
    judge: AskedJudge,
    *,
    seed: int,
    out_dir: Path,
    root: Path | None = None,
) -> list[PairJudgement]:
    """Ask about every prompt and repeat that both have answered, and write pairwise.jsonl and pairwise.json.

    Args:
        ours: Answers of this run.
        others: Answers of the other run, to the same prompts.
        other: Id of the other run.
        judge: The judge to ask, through ``out_dir / "ledger.sqlite"``.
        seed: The run's seed.
        out_dir: An existing folder.
        root: As in ``score_responses``.

    Raises:
        LwexpError: If the judge cannot be used at all.
    """
    from lwexp.score.judging import JudgeRequest, ask_judge

    theirs = {(b.prompt_id, b.repeat): b for b in others if b.finish_reason != "error"}
    both = [(a, theirs.get((a.prompt_id, a.repeat))) for a in ours if a.finish_reason != "error"]
    pairs = [(a, b, first) for a, b in both if b is not None for first in _ORDERS]
    requests = [JudgeRequest(f"{a.id}|{first} first", question(a, b, first)) for a, b, first in pairs]
    outcomes = ask_judge(requests, judge, about="pairs", seed=seed, folder=out_dir, root=root)
    rows = [
        _row(a, b, first, other, judge.model, outcomes[request.key])
        for (a, b, first), request in zip(pairs, requests, strict=True)
    ]
    write_rows(out_dir / PAIR_JUDGEMENTS, rows)
    found = summary(rows, other=other, scorer=judge.model)
    found.write(out_dir)
    log.info(
        "against %s, by %s: %s won, %s tied, %s lost, %s unscored",
        other, judge.model, found.ours, found.ties, found.other_wins, found.unscored,
    )  # fmt: skip
    return rows


def question(ours: Response, other: Response, first: Side) -> Question[Better]:
    """The question which of two answers is better; ``first`` is the one shown first."""
    texts = (ours.text, other.text) if first == "ours" else (other.text, ours.text)
    values = {"CODE": code_of(ours.prompt, *texts), "REQUEST": ours.prompt, "FIRST": texts[0], "SECOND": texts[1]}
    quoted = (ours.prompt, *texts)
    text = fill(PAIR_PROMPT.read_text(encoding="utf-8"), values)
    return Question(text, lambda reply: read_better(reply, quoted=quoted), _reask, Better)


def read_better(reply: str, *, quoted: Sequence[str] = ()) -> Better:
    """Read a judge's choice as ``read_object`` does; ``quoted`` holds the request and the answers.

    Raises:
        UnreadableError: If the reply is anything else, or may come from a quoted text.
    """
    return read_object(reply, Better, quoted=quoted)


def _reask(problem: str) -> str:
    return (
        f"That reply could not be read: {problem}. Reply again with only the JSON object, whose one key better is "
        f'"first", "second" or "tie".'
    )


def _row(a: Response, b: Response, first: Side, other: str, scorer: str, outcome: Better | str) -> PairJudgement:
    winner: Literal["ours", "other", "tie"] | None = None
    if isinstance(outcome, Better):
        second: Side = "other" if first == "ours" else "ours"
        winner = "tie" if outcome.better == "tie" else first if outcome.better == "first" else second
    return PairJudgement(
        prompt_id=a.prompt_id, repeat=a.repeat, response_id=a.id, other_response_id=b.id, other=other,
        shown_first=first, scorer=scorer, winner=winner,
        unscored_reason=outcome if isinstance(outcome, str) else None,
    )  # fmt: skip


def pair_scores(rows: Iterable[PairJudgement]) -> dict[tuple[str, int], float]:
    """Prompt and repeat -> 1 if ours won, 0.5 for a tie, 0 if the other won.

    A pair is won if the two orders together favour one side: both do, or one does and the other is a tie. If they
    contradict each other, the order decided and not the text, so the pair is a tie. A pair that lacks a choice in one
    of the orders is unscored, and absent.
    """
    worth = {"ours": 1.0, "tie": 0.5, "other": 0.0}
    both: dict[tuple[str, int], list[float]] = defaultdict(list)
    for row in rows:
        if row.winner is not None:
            both[row.prompt_id, row.repeat].append(worth[row.winner])
    means = {pair: fmean(scores) for pair, scores in both.items() if len(scores) == len(_ORDERS)}
    return {pair: 1.0 if mean > 0.5 else 0.0 if mean < 0.5 else 0.5 for pair, mean in means.items()}


def summary(rows: Sequence[PairJudgement], *, other: str, scorer: str) -> PairwiseSummary:
    """Counts of pairs, and the win rate with its interval over prompts; a tie counts as half."""
    scores = pair_scores(rows)
    outcomes: dict[str, list[float]] = defaultdict(list)
    for (prompt, _), score in scores.items():
        outcomes[prompt].append(score)
    unscored = len({(row.prompt_id, row.repeat) for row in rows}) - len(scores)
    decided = [row for row in rows if row.winner in ("ours", "other")]
    single = [value for values in outcomes.values() for value in values]
    by_prompt = [fmean(values) for values in outcomes.values()]
    return PairwiseSummary(
        other=other, scorer=scorer, prompts=len(by_prompt),
        ours=single.count(1.0), other_wins=single.count(0.0), ties=single.count(0.5), unscored=unscored,
        win_rate=fmean(by_prompt) if by_prompt else None, interval=interval(by_prompt, within=(0, 1)),
        first_shown_wins=fmean(row.winner == row.shown_first for row in decided) if decided else None,
    )  # fmt: skip
