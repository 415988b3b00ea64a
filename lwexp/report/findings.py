"""What the numbers say: one sentence, and each expectation of the recipe beside what was measured; pure.

Nothing here knows a model by its name. Which model is capped, which is not and which was trained by DPO
from which comes from the training runs; a claim is made only where the numbers carry it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lwexp.pages.display import confidence, named, score, signed, words
from lwexp.records import MetricInfo
from lwexp.report.evaluations import Evaluation
from lwexp.report.tables import Cell, best_first, main_metric, prompt_means
from lwexp.runs.run import Run, ancestors
from lwexp.stats.intervals import Difference, paired_difference, rank_correlation

# The miniature's acceptance: under 1.5 x the longest training answer, and over 3 x the capped model.
CAP_SLACK = 1.5
UNCAPPED_FACTOR = 3.0


class Row(NamedTuple):
    """A model and its place in the report, which is its colour."""

    evaluation: Evaluation
    place: int

    @property
    def total(self) -> Cell:
        return self.evaluation.total

    @property
    def label(self) -> str:
        return self.evaluation.label

    @property
    def named(self) -> str:
        return named(self.evaluation.label)

    @property
    def longest(self) -> int:
        return self.total.max_words or 0

    @property
    def cap(self) -> int:
        """Longest answer it was trained on; only asked of rows that have one."""
        assert self.evaluation.max_train_words is not None
        return self.evaluation.max_train_words


class Check(NamedTuple):
    """An expectation and what was measured. ``holds`` is None where the numbers cannot tell."""

    key: str
    expected: str
    measured: str
    holds: bool | None
    values: dict[str, object]


class PreferenceStep(NamedTuple):
    """A DPO model, the model it started from, and the difference in S_l between them."""

    dpo: Row
    sft: Row
    difference: Difference

    @property
    def seeds_are_apart(self) -> bool | None:
        """Whether the lowest DPO seed lies above the highest SFT seed; None where there is one seed."""
        ours, theirs = self.dpo.total.scores["S_l"].spread, self.sft.total.scores["S_l"].spread
        return ours[0] > theirs[1] if ours and theirs else None


class Findings(NamedTuple):
    headline: str
    checks: tuple[Check, ...]


def find(rows: Sequence[Row], metrics: Sequence[MetricInfo], nodes: Mapping[str, Run]) -> Findings:
    """Read the table of one group.

    Args:
        rows: Models in the order of the report.
        metrics: What they were scored by.
        nodes: The lineage, to know which model a DPO run started from.
    """
    capped, free = _caps(rows)
    steps = _steps(rows, nodes)
    ranks = _rank_check(rows)
    checks = [*ranks, *_cap_checks(capped, free), *(_step_check(step) for step in steps)]
    clauses = []
    if ranks and capped is not None and free is not None:
        follows = "follows" if ranks[0].holds else "does not follow"
        clauses.append(
            f"the longest answer {follows} the longest training answer over {ranks[0].values['models']} models "
            f"(rank correlation {ranks[0].values['rank_correlation']:.2f}): {words(capped.longest)} words where "
            f"trained on up to {words(capped.cap)}, {words(free.longest)} where trained on up to {words(free.cap)}"
        )
    elif capped is not None:
        clauses.append(_cap_clause(capped, free))
    clauses.extend(_step_clause(step) for step in steps[:1])
    headline = "; ".join(clauses) if clauses else _plain(rows, metrics)
    headline = headline[:1].upper() + headline[1:]  # a name at the start is marked, and stays as it is
    return Findings(headline + ".", tuple(checks))


def _trained(rows: Sequence[Row]) -> list[Row]:
    """SFT models with a known cap, lowest first."""
    known = [row for row in rows if row.evaluation.objective != "dpo" and row.evaluation.max_train_words]
    return sorted(known, key=lambda row: row.cap)


def _caps(rows: Sequence[Row]) -> tuple[Row | None, Row | None]:
    """The SFT model with the lowest training cap that was asked for clearly more, and the one with the highest."""
    trained = _trained(rows)
    if not trained or trained[0].evaluation.asked < CAP_SLACK * trained[0].cap:
        return None, None
    free = trained[-1] if trained[-1].cap > trained[0].cap else None
    return trained[0], free


def _is_capped(row: Row) -> bool:
    return row.longest < CAP_SLACK * row.cap


def _cap_checks(capped: Row | None, free: Row | None) -> list[Check]:
    if capped is None:
        return []
    ratio = capped.longest / capped.cap
    checks = [
        Check(
            "capped_stays_under_its_cap",
            f"{capped.named}, trained on answers of up to {words(capped.cap)} words and asked for up to "
            f"{words(capped.evaluation.asked)}, stays under {CAP_SLACK} times its longest training answer.",
            f"Its longest answer has {words(capped.longest)} words, {ratio:.2f} times its longest training answer.",
            _is_capped(capped),
            {"model": capped.label, "max_words": capped.longest, "max_train_words": capped.cap, "ratio": ratio},
        )
    ]
    if free is not None:
        factor = free.longest / capped.longest if capped.longest else None
        checks.append(
            Check(
                "uncapped_exceeds_capped",
                f"{free.named}, trained on answers of up to {words(free.cap)} words, reaches more than "
                f"{UNCAPPED_FACTOR:.0f} times the length of {capped.named}.",
                f"{words(free.longest)} words against {words(capped.longest)}"
                + (f": {factor:.1f} times as long." if factor is not None else "."),
                None if factor is None else factor > UNCAPPED_FACTOR,
                {"model": free.label, "max_words": free.longest, "factor": factor},
            )
        )
    return checks


def _cap_clause(capped: Row, free: Row | None) -> str:
    trained = f"trained on answers of at most {words(capped.cap)} words"
    if _is_capped(capped):
        clause = (
            f"{trained}, {capped.named} never goes beyond {words(capped.longest)} when asked for up to "
            f"{words(capped.evaluation.asked)}"
        )
    else:
        clause = f"the cap does not show: {trained}, {capped.named} still reaches {words(capped.longest)}"
    if free is None:
        return clause
    verb = "reaches" if free.longest > UNCAPPED_FACTOR * capped.longest else "gets no further than"
    return f"{clause}; {free.named}, trained on up to {words(free.cap)}, {verb} {words(free.longest)}"


def _rank_check(rows: Sequence[Row]) -> list[Check]:
    """With three caps or more: do longer training answers go with longer answers?"""
    trained = _trained(rows)
    if len({row.cap for row in trained}) < 3:
        return []
    rho = rank_correlation([row.cap for row in trained], [row.longest for row in trained])
    return [
        Check(
            "maximum_follows_cap",
            "The longer the longest training answer, the longer the longest answer.",
            f"Spearman rank correlation {rho:.2f} over {len(trained)} models.",
            rho > 0.9,
            {"rank_correlation": rho, "models": len(trained)},
        )
    ]


def _steps(rows: Sequence[Row], nodes: Mapping[str, Run]) -> list[PreferenceStep]:
    by_train = {row.evaluation.train.id: row for row in rows if row.evaluation.train}
    steps = []
    for row in rows:
        if row.evaluation.objective != "dpo" or row.evaluation.train is None:
            continue
        origin = next((n for n in ancestors(row.evaluation.train.id, nodes) if n.id in by_train), None)
        if origin is None:
            continue
        sft = by_train[origin.id]
        difference = paired_difference(*(prompt_means(each.evaluation.answers, "S_l") for each in (row, sft)))
        if difference is not None:
            steps.append(PreferenceStep(row, sft, difference))
    return steps


def _step_check(step: PreferenceStep) -> Check:
    """Two questions at once: sure over prompts (paired interval), and sure over seeds (no overlap)."""
    ours, theirs = step.dpo.total.scores["S_l"], step.sft.total.scores["S_l"]
    by_seed = [a - b for a, b in zip(ours.by_repeat, theirs.by_repeat, strict=False) if a is not None and b is not None]
    apart, seeds_are_apart = step.difference, step.seeds_are_apart
    above = apart.interval is not None and apart.interval[0] > 0
    seeds = f"; by seed {', '.join(signed(value) for value in by_seed)}" if len(by_seed) > 1 else ""
    holds = None if apart.interval is None else above and seeds_are_apart is not False
    return Check(
        f"{step.dpo.label}_above_{step.sft.label}",
        f"{step.dpo.named} follows the requested length better than {step.sft.named}, which it started from: "
        "S_l higher by more than chance, over prompts and over seeds.",
        f"{signed(apart.mean)} over {apart.n_prompts} prompts{confidence(apart.interval)}{seeds}.",
        holds,
        {
            "difference": apart.mean,
            "interval": apart.interval,
            "by_seed": by_seed,
            "seeds_do_not_overlap": seeds_are_apart,
        },
    )


def _step_clause(step: PreferenceStep) -> str:
    before, after = score(step.sft.total.scores["S_l"].mean), score(step.dpo.total.scores["S_l"].mean)
    name = "DPO" if step.dpo.label.lower() == "dpo" else f"DPO ({step.dpo.named})"
    low, high = step.difference.interval or (0.0, 0.0)
    if low > 0:
        doubt = ", though the seeds overlap" if step.seeds_are_apart is False else ""
        return f"{name} lifts S_l from {before} to {after}{doubt}"
    if high < 0:
        return f"{name} lowers S_l from {before} to {after}"
    return f"{name} makes no measurable difference to S_l ({before} before, {after} after)"


def _plain(rows: Sequence[Row], metrics: Sequence[MetricInfo]) -> str:
    """The sentence for models without a known cap: which is ahead, if one is."""
    metric = main_metric(metrics, [row.total for row in rows])
    key = best_first(metric)
    means = [(row, value) for row in rows if (value := row.total.scores[metric.name]).mean is not None]
    means.sort(key=lambda pair: key(pair[1].mean))
    if not means:
        return f"nothing is scored yet; the longest answer has {words(max(row.longest for row in rows))} words"
    best, first = means[0]
    sure = confidence(first.interval, metric.decimals)
    asked = f", asked for up to {words(best.evaluation.asked)}" if best.evaluation.asked else ""
    longest = f"its longest answer has {words(best.longest)} words{asked}"
    said = f"{metric.label} {score(first.mean, metric.decimals)}"
    if len(means) == 1:
        return f"{best.named} scores {said}{sure}; {longest}"
    second, behind = means[1]
    pair = (prompt_means(row.evaluation.answers, metric.name) for row in (best, second))
    if not is_clear(paired_difference(*pair), metric):
        other = score(behind.mean, metric.decimals)
        return f"no model is clearly ahead: {said} for {best.named}, {other} for {second.named}"
    return f"{best.named} leads with {said}{sure}; {longest}"


def is_clear(apart: Difference | None, metric: MetricInfo) -> bool:
    """Whether the first of two is better by more than chance: the 95% interval of the difference leaves out zero."""
    if apart is None or apart.interval is None:
        return False
    return apart.interval[0] > 0 if metric.higher_is_better else apart.interval[1] < 0
