"""Findings: one sentence, and each expectation of the recipe with its measurement; pure.

Model names have no meaning here: which model is capped, and which was trained from which, is read from the training
runs.
A claim is made only if the numbers support it.
"""

from collections.abc import Mapping, Sequence, Set
from statistics import fmean
from typing import NamedTuple

from lwexp.pages.display import confidence, score, signed, words
from lwexp.records import MetricInfo
from lwexp.report.aggregation import best_first, cell, main_metric, prompt_means
from lwexp.report.cap_fit import describe_fit, fit_line
from lwexp.report.evaluations import Evaluation
from lwexp.stats.intervals import LEVEL, Difference, Interval, interval, paired_difference
from lwexp.text.plain import plural

# The miniature's acceptance: under 1.5 x the longest training answer, and over 3 x the capped model.
CAP_SLACK = 1.5
_FEW_CUT = 0.05  # of all answers
UNCAPPED_FACTOR = 3.0


class Check(NamedTuple):
    """An expectation and what was measured. ``holds`` is None if the numbers cannot tell."""

    key: str
    expected: str
    measured: str
    holds: bool | None
    values: dict[str, object]


class Findings(NamedTuple):
    headline: str
    checks: tuple[Check, ...]


class Contestant(NamedTuple):
    """A model or a setting, by its score. ``means`` is prompt id -> score; ``remark`` is added if it leads."""

    name: str
    mean: float | None
    interval: Interval | None
    means: Mapping[str, float]
    remark: str = ""


def find(evaluations: Sequence[Evaluation], metrics: Sequence[MetricInfo]) -> Findings:
    """State what the scores of one group show.

    Args:
        evaluations: Models in the order of the report.
        metrics: Their metrics.
    """
    answered = [each for each in evaluations if each.total.n]
    trained = sorted(((e, e.max_train_words) for e in answered if e.max_train_words and not e.started_from),
                     key=lambda pair: pair[1])  # fmt: skip
    checks: list[Check] = []
    clauses: list[str] = []
    if trained and trained[0][0].asked >= CAP_SLACK * trained[0][1]:  # else the lowest cap was never tested
        checks, clauses = _cap(*trained[0], *(trained[-1] if trained[-1][1] > trained[0][1] else (None, 0)))
    points = [(float(cap), float(e.longest)) for e, cap in trained]
    fit = fit_line(points) if len({cap for _, cap in trained}) > 2 else None
    if fit is not None and not any(_cuts_that_hide(e, CAP_SLACK * cap) for e, cap in trained):
        clauses = [describe_fit(points, fit, has_slope=False)] if clauses else []
        checks.insert(0, Check(
            "maximum_follows_cap", "The longer the longest training answer, the longer the longest answer.",
            f"Spearman rank correlation {fit.rank_correlation:.2f} over {fit.n} models.", fit.follows,
            {"rank_correlation": fit.rank_correlation, "models": fit.n},
        ))  # fmt: skip
    steps = [step for evaluation in evaluations if (step := _step(evaluation, evaluations)) is not None]
    checks += [check for check, _ in steps]
    clauses += [clause for _, clause in steps[:1]]
    headline = "; ".join(clauses) or _leader(evaluations, metrics)
    # A model's name at the start is marked up, so its case is kept.
    return Findings(f"{headline[:1].upper()}{headline[1:]}.", tuple(checks))


def _cap(capped: Evaluation, cap: int, free: Evaluation | None, free_cap: int) -> tuple[list[Check], list[str]]:
    """Checks and a clause about the lowest cap and, where there is a higher one, the highest."""
    ratio = capped.longest / cap
    stays_under = ratio < CAP_SLACK
    cut = _cuts_that_hide(capped, CAP_SLACK * cap)
    if stays_under and cut:
        return [], [
            f"the cap cannot be seen: {len(cut):,} of {plural(len(capped.came), 'answer')} of {capped.named} were cut "
            f"at the token limit, the longest of them after {words(max(cut))} words; raise sample.max_new_tokens"
        ]
    trained = f"trained on answers of at most {words(cap)} words"
    reach = f"{words(capped.longest)}{capped.without_loops}"
    checks = [
        Check(
            "capped_stays_under_its_cap",
            f"{capped.named}, trained on answers of up to {words(cap)} words and asked for up to "
            f"{words(capped.asked)}, stays under {CAP_SLACK} times its longest training answer.",
            f"Its longest answer has {words(capped.longest)} words{capped.without_loops}, "
            f"{ratio:.2f} times its longest training answer.",
            stays_under,
            {"model": capped.label, "max_words": capped.longest, "max_train_words": cap, "ratio": ratio},
        )
    ]
    clause = (
        f"{trained}, {capped.named} never goes beyond {reach} when asked for up to {words(capped.asked)}"
        if stays_under
        else f"the cap does not show: {trained}, {capped.named} still reaches {reach}"
    )
    if free is not None:
        check, more = _higher_cap(free, free_cap, capped)
        checks.append(check)
        clause += more
    return checks, [clause]


def _higher_cap(free: Evaluation, free_cap: int, capped: Evaluation) -> tuple[Check, str]:
    """Check and rest of the clause about the model with the highest cap, against the one with the lowest."""
    factor = free.longest / capped.longest if capped.longest else None
    times = "." if factor is None else f": {factor:.1f} times as long."
    is_cut = bool(_cuts_that_hide(free, CAP_SLACK * free_cap))
    check = Check(
        "uncapped_exceeds_capped",
        f"{free.named}, trained on answers of up to {words(free_cap)} words, reaches more than "
        f"{UNCAPPED_FACTOR:.0f} times the length of {capped.named}.",
        f"{words(free.longest)} words{free.without_loops} against {words(capped.longest)}{capped.without_loops}{times}",
        None if factor is None or (is_cut and factor <= UNCAPPED_FACTOR) else factor > UNCAPPED_FACTOR,
        {"model": free.label, "max_words": free.longest, "factor": factor},
    )
    verb = "gets no further than"
    if free.longest > UNCAPPED_FACTOR * capped.longest:
        verb = "reaches"
    elif is_cut:
        verb = "is cut at the token limit after"
    reach = f"{words(free.longest)}{free.without_loops}"
    return check, f"; {free.named}, trained on up to {words(free_cap)}, {verb} {reach}"


def _cut_below(model: Evaluation, limit: float) -> list[int]:
    """Words of the answers below ``limit`` that the token limit ended: how long they would have become is unknown.

    A loop that runs into the token limit is longer, and says nothing about the training cap.
    """
    answers = [answer.response for answer in model.came]
    return [answer.words for answer in answers if answer.finish_reason == "length" and answer.words < limit]


def _cuts_that_hide(model: Evaluation, limit: float) -> list[int]:
    """As ``_cut_below``, but none if the cut answers are few and short, as stray loops of signs without words are."""
    cut = _cut_below(model, limit)
    return cut if cut and (max(cut) == model.longest or len(cut) > _FEW_CUT * len(model.came)) else []


def _step(model: Evaluation, others: Sequence[Evaluation]) -> tuple[Check, str] | None:
    """Compare a model's S_l with that of the nearest model it was trained from; None if there is none, or no shared
    prompt.

    Answers two questions: is the difference certain over prompts (paired interval), and over seeds (no overlap)?
    """
    by_run = {each.train.id: each for each in others if each.train}
    start = next((by_run[run] for run in model.started_from if run in by_run), None)
    if start is None:
        return None
    means = [prompt_means(each.answers, "S_l") for each in (model, start)]
    apart = paired_difference(*means)
    if apart is None:
        return None
    shared = means[0].keys() & means[1].keys()
    ours, theirs = (
        cell([answer for answer in each.answers if answer.response.prompt_id in shared]).scores["S_l"]
        for each in (model, start)
    )
    by_seed = [a - b for a, b in zip(ours.by_repeat, theirs.by_repeat, strict=False) if a is not None and b is not None]
    # Whether this model's lowest seed is above the other's highest; None if either has only one seed.
    seeds_are_apart = ours.spread[0] > theirs.spread[1] if ours.spread and theirs.spread else None
    low, high = apart.interval or (0.0, 0.0)
    seeds = f"; by seed {', '.join(signed(value) for value in by_seed)}" if len(by_seed) > 1 else ""
    check = Check(
        f"{model.label}_above_{start.label}",
        f"{model.named} follows the requested length better than {start.named}, which it started from: "
        "S_l higher by more than chance, over prompts and over seeds.",
        f"{signed(apart.mean)} over {apart.n_prompts} prompts{confidence(apart.interval)}{seeds}.",
        None if apart.interval is None else low > 0 and seeds_are_apart is not False,
        {"difference": apart.mean, "interval": apart.interval, "by_seed": by_seed,
         "seeds_do_not_overlap": seeds_are_apart},
    )  # fmt: skip
    method = model.method or "training"
    name = method if model.label.lower() == method.lower() else f"{method} ({model.named})"
    before, after = score(theirs.mean), score(ours.mean)
    if low > 0 or high < 0:
        doubt = ", though the seeds overlap" if low > 0 and seeds_are_apart is False else ""
        return check, f"{name} {'lifts' if low > 0 else 'lowers'} S_l from {before} to {after}{doubt}"
    return check, f"{name} makes no measurable difference to S_l ({before} before, {after} after)"


def _leader(evaluations: Sequence[Evaluation], metrics: Sequence[MetricInfo]) -> str:
    """The sentence for models without a known cap: which one leads, if any does."""
    metric = main_metric(metrics, [each.total for each in evaluations])
    contestants = []
    for each in evaluations:
        asked = f", asked for up to {words(each.asked)}" if each.asked else ""
        remark = f"its longest answer has {words(each.longest)} words{each.without_loops}{asked}"
        if (num_cut := len(_cut_below(each, each.asked))) > 0:
            remark += f"; {num_cut:,} of {plural(len(each.came), 'answer')} were cut at the token limit"
        value = each.total.scores[metric.name]
        means = prompt_means(each.answers, metric.name)
        contestants.append(Contestant(each.named, value.mean, value.interval, means, remark))
    prompts = {a.response.prompt_id for each in evaluations for a in each.answers if metric.name in a.scores}
    if not any(each.total.n for each in evaluations):
        return "every answer is missing"
    longest = max(evaluations, key=lambda each: each.longest)
    return (
        leading(contestants, metric, "model", asked=len(prompts))
        or f"nothing is scored yet; the longest answer has {words(longest.longest)} words{longest.without_loops}"
    )


def leading(contestants: Sequence[Contestant], metric: MetricInfo, noun: str, *, asked: int = 0) -> str:
    """Which one leads, how far behind the second and the last are, and how certain that is; empty without scores.

    All are compared on the prompts that all of them have a score for, and the sentence says if that is not every one.

    Args:
        contestants: In any order.
        metric: The metric to rank by; says whether higher is better.
        noun: "model" or "setting", for the sentence.
        asked: Prompts that were asked; 0 if unknown.
    """
    key = best_first(metric)
    scored = [each for each in contestants if each.mean is not None]
    if not scored:
        return ""
    shared = set.intersection(*(set(each.means) for each in scored))
    if not shared:
        each_alone = (f"{each.name} {score(each.mean, metric.decimals)} over {len(each.means):,}" for each in scored)
        return f"the {noun}s have no prompt in common, so they are not compared: {metric.label} {', '.join(each_alone)}"
    where = ""
    if is_uneven := any(each.means.keys() != shared for each in scored):
        scored = [_on(each, shared, metric.scale) for each in scored]
    if is_uneven or len(shared) < asked:
        where = f" on {len(shared):,}{f' of {asked:,}' if asked else ''} prompts"
        where += f", those with a score for every {noun}" if is_uneven else ""
    scored.sort(key=lambda each: key(each.mean))
    first, *others = scored
    said = f"{metric.label} {score(first.mean, metric.decimals)}"
    sure = confidence(first.interval, metric.decimals)
    remark = f"; {first.remark}" if first.remark else ""
    if not others:
        return f"{first.name} scores {said}{sure}{where}{remark}"
    is_ahead = is_clear(paired_difference(first.means, others[0].means), metric)
    ahead = f"{first.name} leads with {said}{sure}{where}{remark}" if is_ahead else (
        f"no {noun} is clearly ahead{where}: {said} for {first.name}"
    )  # fmt: skip
    behind = [_behind("", first, others[0], metric)]
    if len(others) > 1:
        behind.append(_behind(f"last of {len(scored)}: ", first, others[-1], metric))
    return "; ".join([ahead, *behind])


def _on(contestant: Contestant, prompts: Set[str], scale: Interval) -> Contestant:
    """The contestant on some of its prompts, with an interval cut at the ends of the scale."""
    means = {prompt: mean for prompt, mean in contestant.means.items() if prompt in prompts}
    values = list(means.values())
    return contestant._replace(means=means, mean=fmean(values), interval=interval(values, within=scale))


def _behind(which: str, first: Contestant, other: Contestant, metric: MetricInfo) -> str:
    apart = paired_difference(first.means, other.means)
    by = "they share no prompt" if apart is None else (
        f"a difference of {signed(apart.mean, metric.decimals)} over {apart.n_prompts:,} prompts"
        f"{confidence(apart.interval, metric.decimals)}"
    )  # fmt: skip
    return f"{which}{other.name} has {score(other.mean, metric.decimals)}, {by}"


def is_clear(apart: Difference | None, metric: MetricInfo) -> bool:
    """Whether the first of two is better by more than chance: p and the 95% interval of the difference say so."""
    if apart is None or apart.interval is None or apart.p_value is None or apart.p_value >= LEVEL:
        return False
    return apart.interval[0] > 0 if metric.higher_is_better else apart.interval[1] < 0
