"""The room's first job: every response gets its verdicts, in order, in one file."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lwexp.extend.endpoint import AskedJudge, Judge
from lwexp.extend.metric import STANDARD, ComputedMetric, JudgedMetric, Marks, Metric, metrics_of
from lwexp.records import Judgement, LwexpError, Response, Verdict, tally, write_json, write_rows
from lwexp.runs.artifacts import JUDGEMENTS
from lwexp.runs.summaries import JudgeSummary, MetricJudgeSummary
from lwexp.score.agreement import krippendorff_alpha, mean_absolute_difference

log = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
_Judgements = Mapping[str, Sequence[Judgement]]
"""Response id -> its judgements by one metric."""


def score_responses(
    responses: Sequence[Response],
    judge: Judge,
    *,
    metrics: Sequence[Metric] | None = None,
    seed: int,
    out_dir: Path,
) -> list[Verdict]:
    """Score responses, and write ``verdicts.jsonl``: per response one verdict for each metric that applies to it.

    A re-run asks the judge nothing that ``out_dir / "ledger.sqlite"`` answers; verdicts follow from the ledger, so
    they are made again. What the judge gave no reply to is asked again. When the run is stopped, the verdicts so far
    are written all the same. metrics.json says what was scored by; with a judge there are also judgements.jsonl and
    judge.json.

    Args:
        responses: With unique ids; their order is the file's.
        judge: With kind none, judged metrics have no verdicts.
        metrics: In the order of the tables; None takes the paper's three.
        seed: Of the run; sent with every question to the judge.
        out_dir: An existing folder.

    Raises:
        LwexpError: If an id comes twice, or the judge cannot be used at all.
    """
    twice = [id for id, count in Counter(response.id for response in responses).items() if count > 1]
    if twice:
        raise LwexpError(f"response id {twice[0]} comes twice; ids must be unique, because verdicts refer to them")
    metrics = metrics_of(STANDARD) if metrics is None else metrics
    write_json(out_dir / METRICS_FILE, [metric.info().model_dump(mode="json") for metric in metrics])
    computed = {m.kind: _computed(m, responses) for m in metrics if isinstance(m, ComputedMetric)}
    judged = [metric for metric in metrics if isinstance(metric, JudgedMetric)]
    order = [metric.kind for metric in metrics]
    if not isinstance(judge, AskedJudge) or not judged:
        names = ", ".join(metric.name for metric in metrics if isinstance(metric, ComputedMetric))
        log.info("%d answers scored by %s; nothing judged", len(responses), names or "nothing")
        return _write(out_dir, responses, order, computed)
    outcomes: dict[str, Marks | str] = {}

    def write() -> tuple[Mapping[str, _Judgements], list[Verdict]]:
        """What there is so far."""
        given = {metric.kind: _judgements(metric, responses, judge, outcomes) for metric in judged}
        write_rows(out_dir / JUDGEMENTS, (row for by_id in given.values() for rows in by_id.values() for row in rows))
        return given, _write(out_dir, responses, order, computed | _judged(judged, responses, judge.model, given))

    try:
        _ask(judged, responses, judge, seed, out_dir, outcomes)
    except BaseException:
        given, _ = write()
        log.info("stopped: %d of %d answers judged", len(given[judged[0].kind]), len(responses))
        raise
    given, verdicts = write()
    first, *further = [_facts(metric, judge, given[metric.kind], verdicts, responses) for metric in judged]
    for metric, facts in zip(judged, (first, *further), strict=True):
        reasons = [reason for reason, count in facts.unscored.items() for _ in range(count)]
        log.info("%s by %s: %s", metric.kind, judge.model, tally(facts.answers, facts.scored, reasons))
    # Flat for the first metric, as runs with S_q alone have it.
    JudgeSummary(
        model=judge.model, temperature=judge.temperature, repeats=judge.repeats, further=tuple(further), **dict(first)
    ).write(out_dir)
    return verdicts


def _computed(metric: ComputedMetric, responses: Iterable[Response]) -> dict[str, Verdict]:
    """Response id -> verdict; an answer that never came is unscored, and one without a length may have no verdict."""
    found = {}
    for response in responses:
        if metric.needs_length and response.required_words is None:
            continue
        if response.finish_reason == "error":
            found[response.id] = _verdict(metric, response, metric.name, "no_answer")
        else:
            score = metric.score(response)
            found[response.id] = _verdict(
                metric, response, metric.name, score if isinstance(score, Marks) else Marks(score)
            )
    return found


def _verdict(metric: Metric, response: Response, scorer: str, outcome: Marks | str) -> Verdict:
    """``outcome`` is what the answer got, or the reason why it is unscored."""
    if isinstance(outcome, str):
        return Verdict(response_id=response.id, kind=metric.kind, scorer=scorer, score=None, unscored_reason=outcome)
    low, high = metric.scale
    if not low <= outcome.score <= high:
        raise LwexpError(
            f"metric {metric.kind}: {response.id} got {outcome.score}, which is off its scale of {low:g} to "
            f"{high:g}; mend the metric, or its scale"
        )
    return Verdict(
        response_id=response.id, kind=metric.kind, scorer=scorer, score=outcome.score,
        dimensions=dict(outcome.dimensions),
    )  # fmt: skip


def _ask(
    metrics: Sequence[JudgedMetric],
    responses: Sequence[Response],
    judge: AskedJudge,
    seed: int,
    out_dir: Path,
    outcomes: dict[str, Marks | str],
) -> None:
    """Ask about every answer that a judge has to see, ``judge.repeats`` times."""
    from lwexp.score.judging import JudgeRequest, ask_judge

    requests = []
    for metric in metrics:
        prompt = metric.judge_prompt(judge.prompt)
        for response in responses:
            outcome = outcome_without_judge(metric, response)
            for repeat in range(judge.repeats):
                key = _key(metric, response, repeat)
                if outcome is None:
                    requests.append(JudgeRequest(key, metric.question(response, prompt), repeat))
                else:
                    outcomes[key] = outcome
    ask_judge(requests, judge, seed=seed, folder=out_dir, outcomes=outcomes)


def _judgements(
    metric: JudgedMetric, responses: Iterable[Response], judge: AskedJudge, outcomes: Mapping[str, Marks | str]
) -> dict[str, list[Judgement]]:
    """Response id -> its judgements so far, for those that have one."""
    found: dict[str, list[Judgement]] = {}
    for response in responses:
        for repeat in range(judge.repeats):
            outcome = outcomes.get(_key(metric, response, repeat))
            if outcome is not None:
                row = judgement(metric, response, repeat, judge.model, outcome)
                found.setdefault(response.id, []).append(row)
    return found


def _judged(
    metrics: Sequence[JudgedMetric], responses: Sequence[Response], scorer: str, given: Mapping[str, _Judgements]
) -> dict[str, dict[str, Verdict]]:
    """Kind -> response id -> verdict."""
    return {
        metric.kind: {
            response.id: judged_verdict(metric, response, scorer, given[metric.kind][response.id])
            for response in responses
            if response.id in given[metric.kind]
        }
        for metric in metrics
    }


def _key(metric: Metric, response: Response, repeat: int) -> str:
    return f"{metric.kind}|{response.id}|{repeat}"


def outcome_without_judge(metric: JudgedMetric, response: Response) -> Marks | str | None:
    """What no judge needs to see: the worst score for an empty answer, a reason for one that never came; else None."""
    if response.finish_reason == "error":
        return "no_answer"
    return metric.empty(response) if not response.text.strip() else None


def judgement(metric: Metric, response: Response, repeat: int, scorer: str, outcome: Marks | str) -> Judgement:
    """One reply of a judge; ``outcome`` is its marks or the reason why there are none."""
    verdict = _verdict(metric, response, scorer, outcome)
    return Judgement(**{**verdict.model_dump(), "repeat": repeat})


def judged_verdict(metric: JudgedMetric, response: Response, scorer: str, judgements: Sequence[Judgement]) -> Verdict:
    """The verdict of a judge on one answer, from its readable judgements; unscored where there is none."""
    marks = [Marks(row.score, row.dimensions) for row in judgements if row.score is not None]
    reasons = [row.unscored_reason for row in judgements if row.unscored_reason]
    return _verdict(metric, response, scorer, metric.combine(marks) if marks else [*reasons, "no_verdict"][0])


def _write(
    out_dir: Path, responses: Sequence[Response], order: Sequence[str], found: Mapping[str, Mapping[str, Verdict]]
) -> list[Verdict]:
    """Response by response, its verdicts in the order of the metrics."""
    verdicts = [
        found[kind][response.id] for response in responses for kind in order if response.id in found.get(kind, {})
    ]
    write_rows(out_dir / "verdicts.jsonl", verdicts)
    return verdicts


def _facts(
    metric: JudgedMetric,
    judge: AskedJudge,
    judgements: _Judgements,
    verdicts: Iterable[Verdict],
    responses: Iterable[Response],
) -> MetricJudgeSummary:
    """What judge.json says of one metric: counts, and how far the repeats agree, per dimension and on the score."""
    prompt = metric.judge_prompt(judge.prompt)
    own = [verdict for verdict in verdicts if verdict.kind == metric.kind]
    reasons = [verdict.unscored_reason or "" for verdict in own if verdict.score is None]
    # An empty answer, which no judge saw, would count as perfect agreement.
    seen = [judgements[response.id] for response in responses if outcome_without_judge(metric, response) is None]
    given = [[row for row in rows if row.score is not None] for rows in seen]
    scores = [[row.score for row in rows if row.score is not None] for rows in given]
    dimensions = list(dict.fromkeys(name for rows in given for row in rows for name in row.dimensions))
    alpha = {
        name: krippendorff_alpha([row.dimensions[name] for row in rows if name in row.dimensions] for rows in given)
        for name in dimensions
    }
    return MetricJudgeSummary(
        metric=metric.name, prompt=prompt.name, prompt_sha256=prompt.sha256,
        answers=len(own), scored=len(own) - len(reasons), unscored=dict(Counter(reasons)),
        alpha={**alpha, metric.name: krippendorff_alpha(scores)},
        mean_absolute_difference=mean_absolute_difference(scores),
        compared=sum(len(rows) > 1 for rows in given),
    )  # fmt: skip
