"""Scores responses, and writes their verdicts in order to one file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lwexp.extend.endpoint import AskedJudge, Judge
from lwexp.extend.metric import STANDARD, ComputedMetric, JudgedMetric, Marks, Metric, metrics_of
from lwexp.records import Judgement, LwexpError, Response, Verdict, tally, write_json, write_rows
from lwexp.runs.artifacts import JUDGEMENTS, VERDICTS
from lwexp.runs.summaries import JudgeSummary, MetricJudgeSummary
from lwexp.stats.agreement import krippendorff_alpha, mean_absolute_difference

if TYPE_CHECKING:
    from lwexp.score.judging import JudgeRequest

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"


def score_responses(
    responses: Sequence[Response],
    judge: Judge,
    *,
    metrics: Sequence[Metric] | None = None,
    seed: int,
    out_dir: Path,
    root: Path | None = None,
    given: Sequence[Verdict] = (),
) -> list[Verdict]:
    """Score responses, and write ``verdicts.jsonl``: per response one verdict for each metric that applies to it.

    A rerun asks the judge only what ``out_dir / "ledger.sqlite"`` holds no reply to; the verdicts are computed from
    the replies again. When the run is stopped, the verdicts so far are written. metrics.json lists the metrics; with
    a judge there are also judgements.jsonl and judge.json.

    Args:
        responses: With unique ids; the file keeps their order.
        judge: With kind none, judged metrics have no verdicts.
        metrics: In the order of the tables; None means the paper's three.
        seed: The run's seed, sent with every question to the judge.
        out_dir: An existing folder.
        root: Folder of the runs that share their paid replies; None shares with no run.
        given: Verdicts of other judges, which come after those made here.

    Raises:
        LwexpError: If an id is repeated, or the judge cannot be used at all.
    """
    _refuse_repeated_ids(responses)
    metrics = metrics_of(STANDARD) if metrics is None else metrics
    write_json(out_dir / METRICS_FILE, [metric.info().model_dump(mode="json") for metric in metrics])
    found = {metric.kind: _computed(metric, responses) for metric in metrics if isinstance(metric, ComputedMetric)}
    outcomes: dict[str, Marks | str] = {}
    judged: list[_Judging] = []
    if isinstance(judge, AskedJudge):
        judged = [_Judging(metric, judge, responses) for metric in metrics if isinstance(metric, JudgedMetric)]

    def write() -> list[Verdict]:
        """Write judgements and verdicts from the outcomes so far."""
        for one in judged:
            found[one.metric.kind] = one.read(outcomes)
        if judged:
            write_rows(out_dir / JUDGEMENTS, (r for one in judged for rows in one.judgements.values() for r in rows))
        made = [(response, found.get(metric.kind, {})) for response in responses for metric in metrics]
        verdicts = [*(by_id[response.id] for response, by_id in made if response.id in by_id), *given]
        write_rows(out_dir / VERDICTS, verdicts)
        return verdicts

    if not isinstance(judge, AskedJudge) or not judged:
        names = ", ".join(metric.name for metric in metrics if isinstance(metric, ComputedMetric))
        came = sum(response.finish_reason != "error" for response in responses)
        missing = f", {len(responses) - came} missing" if came < len(responses) else ""
        log.info("%d answers scored by %s; nothing judged%s", came, names or "nothing", missing)
        return write()
    from lwexp.score.judging import ask_judge

    requests = [request for one in judged for request in one.requests(outcomes)]
    try:
        ask_judge(requests, judge, about="answers", seed=seed, folder=out_dir, root=root, outcomes=outcomes)
    except BaseException:
        write()
        log.info("stopped: %d of %d answers judged", len(judged[0].judgements), len(responses))
        raise
    verdicts = write()
    _summary(judge, [one.summary(found[one.metric.kind].values()) for one in judged]).write(out_dir)
    return verdicts


def _refuse_repeated_ids(responses: Iterable[Response]) -> None:
    twice = [id for id, count in Counter(response.id for response in responses).items() if count > 1]
    if twice:
        raise LwexpError(f"response id {twice[0]} comes twice; ids must be unique, because verdicts refer to them")


def _summary(judge: AskedJudge, metrics: Sequence[MetricJudgeSummary]) -> JudgeSummary:
    """The first metric's values are at the top level, as in runs with S_q alone."""
    first, *further = metrics
    return JudgeSummary(
        model=judge.model, temperature=judge.temperature, repeats=judge.repeats, further=tuple(further), **dict(first)
    )


def _computed(metric: ComputedMetric, responses: Iterable[Response]) -> dict[str, Verdict]:
    """Response id -> verdict. A missing answer is unscored; without a required length there may be no verdict."""
    found = {}
    for response in responses:
        if metric.needs_length and response.required_words is None:
            continue
        outcome = "no_answer" if response.finish_reason == "error" else metric.score(response)
        marks = Marks(outcome) if isinstance(outcome, int | float) else outcome
        found[response.id] = _verdict(metric, response, metric.name, marks)
    return found


def _verdict(metric: Metric, response: Response, scorer: str, outcome: Marks | str) -> Verdict:
    """``outcome`` is the answer's marks, or the reason why it is unscored."""
    if isinstance(outcome, str):
        return Verdict(response_id=response.id, kind=metric.kind, scorer=scorer, score=None, unscored_reason=outcome)
    low, high = metric.scale
    if not low <= outcome.score <= high:
        raise LwexpError(
            f"metric {metric.kind}: {response.id} got {outcome.score}, which is off its scale of {low:g} to "
            f"{high:g}; fix the metric, or its scale"
        )
    return Verdict(
        response_id=response.id, kind=metric.kind, scorer=scorer, score=outcome.score,
        dimensions=dict(outcome.dimensions),
    )  # fmt: skip


class _Judging:
    """One judged metric: its questions about the answers, and the judgements read so far."""

    def __init__(self, metric: JudgedMetric, judge: AskedJudge, responses: Sequence[Response]) -> None:
        self.metric = metric
        self.judge = judge
        self.prompt = metric.judge_prompt(judge.prompt)
        self.judgements: dict[str, list[Judgement]] = {}  # response id -> its judgements, for those that have one
        self._responses = responses

    def _key(self, response: Response, repeat: int) -> str:
        return f"{self.metric.kind}|{response.id}|{repeat}"

    def requests(self, outcomes: dict[str, Marks | str]) -> Iterator[JudgeRequest[Marks]]:
        """``judge.repeats`` questions about each answer; an outcome without a judge goes to ``outcomes`` at once."""
        from lwexp.score.judging import JudgeRequest

        for response in self._responses:
            outcome = outcome_without_judge(self.metric, response)
            for repeat in range(self.judge.repeats):
                key = self._key(response, repeat)
                if outcome is None:
                    yield JudgeRequest(key, self.metric.question(response, self.prompt), repeat)
                else:
                    outcomes[key] = outcome

    def read(self, outcomes: Mapping[str, Marks | str]) -> dict[str, Verdict]:
        """Turn the outcomes so far into judgements. Returns response id -> verdict."""
        self.judgements = {}
        for response in self._responses:
            for repeat in range(self.judge.repeats):
                outcome = outcomes.get(self._key(response, repeat))
                if outcome is not None:
                    row = judgement(self.metric, response, repeat, self.judge.model, outcome)
                    self.judgements.setdefault(response.id, []).append(row)
        return {
            response.id: judged_verdict(self.metric, response, self.judge.model, self.judgements[response.id])
            for response in self._responses
            if response.id in self.judgements
        }

    def summary(self, verdicts: Iterable[Verdict]) -> MetricJudgeSummary:
        """What judge.json says of the metric: counts, and how far the repeats agree, per dimension and on the score."""
        verdicts = list(verdicts)
        reasons = [verdict.unscored_reason or "" for verdict in verdicts if verdict.score is None]
        scored = len(verdicts) - len(reasons)
        log.info("%s by %s: %s", self.metric.kind, self.judge.model, tally(len(verdicts), scored, reasons))
        # An empty answer, which no judge saw, would count as perfect agreement.
        seen = [response for response in self._responses if outcome_without_judge(self.metric, response) is None]
        given = [[row for row in self.judgements[response.id] if row.score is not None] for response in seen]
        scores = [[row.score for row in rows if row.score is not None] for rows in given]
        alpha = {
            name: krippendorff_alpha([row.dimensions[name] for row in rows if name in row.dimensions] for rows in given)
            for name in dict.fromkeys(name for rows in given for row in rows for name in row.dimensions)
        }
        return MetricJudgeSummary(
            metric=self.metric.name, prompt=self.prompt.name, prompt_sha256=self.prompt.sha256,
            answers=len(verdicts), scored=scored, unscored=dict(Counter(reasons)),
            alpha={**alpha, self.metric.name: krippendorff_alpha(scores)},
            mean_absolute_difference=mean_absolute_difference(scores),
            compared=sum(len(rows) > 1 for rows in given),
        )  # fmt: skip


def outcome_without_judge(metric: JudgedMetric, response: Response) -> Marks | str | None:
    """Outcome without a judge: the worst score for an empty answer, a reason for a missing answer; else None."""
    if response.finish_reason == "error":
        return "no_answer"
    return metric.empty(response) if not response.text.strip() else None


def judgement(metric: Metric, response: Response, repeat: int, scorer: str, outcome: Marks | str) -> Judgement:
    """One reply of a judge; ``outcome`` is its marks or the reason why there are none."""
    verdict = _verdict(metric, response, scorer, outcome)
    reasons = dict(outcome.reasons) if isinstance(outcome, Marks) else {}
    return Judgement(**{**verdict.model_dump(), "repeat": repeat, "reasons": reasons})


def judged_verdict(metric: JudgedMetric, response: Response, scorer: str, judgements: Sequence[Judgement]) -> Verdict:
    """The verdict of a judge on one answer, from its readable judgements; unscored where there is none."""
    marks = [Marks(row.score, row.dimensions) for row in judgements if row.score is not None]
    reasons = [row.unscored_reason for row in judgements if row.unscored_reason]
    return _verdict(metric, response, scorer, metric.combine(marks) if marks else [*reasons, "no_verdict"][0])
