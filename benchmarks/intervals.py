"""Coverage of 95% intervals over few prompts, and how often a comparison of equal models finds a difference.

    python -m benchmarks.intervals            2,000 draws per cell, 1,000 comparisons: about a minute
    python -m benchmarks.intervals --quick    100 draws per cell, 40 comparisons
    python -m benchmarks.intervals <run> ...  samples of real differences, instead of simulated ones, between
                                              evaluation runs (or folders of them) of the same prompts

Scores are S_l of simulated answers. Two models find the same prompts hard, miss the requested length by a factor, stop
at an output cap, and sometimes stop early or loop. As in real data, the differences of S_l have a peak at 0 and long
tails, and percentile intervals cover the truth as often as was measured on 60 real prompts (about 90% at n = 11).
"ours" is lwexp.stats.intervals; "t" is scipy's, and "percentile" and "studentised" are bootstraps, implemented here.
Beside its mean, a width is given as the median and the 95th percentile of its ratio to t's. A comparison of equal
models flips the signs of differences at random, for all ranges of 60 prompts and S_l, S_q and S-bar: 15 cells. For real
differences the population is those of two runs over all their prompts, drawn from with replacement.

    python -m benchmarks.intervals --kinds    other kinds of values instead: normal, skewed, with long tails, mostly 0
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.output import Results, show
from lwexp.extend.metric import standard_metrics
from lwexp.extend.word_range import WordRange
from lwexp.records import Response, Verdict
from lwexp.report.aggregation import prompt_means
from lwexp.report.load import load
from lwexp.score.regression import regression
from lwexp.stats.intervals import interval

Values = npt.NDArray[np.floating[Any]]
RANGES = {"0-500": (100, 500), "500-2k": (500, 2000), "2k-4k": (2000, 4000), "4k-20k": (4000, 20000)}
CAPS = (2600, 4500)  # words at which the two models tend to stop
PROMPTS_PER_RANGE = (19, 18, 12, 11)  # of the 60 prompts of a language of LongBench-Write
OUTSIDE: tuple[Callable[[tuple[float, float]], bool], ...] = (lambda ends: ends[1] < 0, lambda ends: ends[0] > 0)
POPULATION = 200_000
RESAMPLES = 1_000
REAL_DRAWS = 2_000
FEWEST_PROMPTS = 20  # of a real population
ROUNDING = 1e-9


def length_score(required: Values, words: Values) -> Values:
    """S_l, implemented independently of lwexp."""
    too_long = 100 * np.maximum(0, 1 - (words / required - 1) / 3)
    too_short = 100 * np.maximum(0, 1 - (required / np.maximum(words, 1) - 1) / 2)
    return np.where(words > required, too_long, too_short)


def words_written(required: Values, difficulty: Values, cap: float, rng: np.random.Generator) -> Values:
    """Words of a simulated answer: near the request or the cap; one in 15 stops early, one in 20 loops to the limit."""
    count = len(required)
    words = required * np.exp(0.15 * difficulty + rng.normal(-0.05, 0.27, count))
    words = np.minimum(words, cap * np.exp(rng.normal(0, 0.25, count)))
    fate = rng.random(count)
    words = np.where(fate < 1 / 15, required * rng.uniform(0.02, 0.4, count), words)
    return np.round(np.where(fate > 1 - 1 / 20, rng.uniform(8_000, 17_000, count), words))


def scores(low: float, high: float, rng: np.random.Generator, count: int = POPULATION) -> tuple[Values, Values]:
    """S_l of both models on the same prompts."""
    required = np.round(np.exp(rng.uniform(np.log(low), np.log(high), count)), -2)
    difficulty = rng.normal(size=count)
    first, second = (length_score(required, words_written(required, difficulty, cap, rng)) for cap in CAPS)
    return first, second


def percentile(sample: Values, rng: np.random.Generator) -> tuple[float, float]:
    means = sample[rng.integers(0, len(sample), (RESAMPLES, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def studentised(sample: Values, rng: np.random.Generator) -> tuple[float, float]:
    drawn = sample[rng.integers(0, len(sample), (RESAMPLES, len(sample)))]
    errors = drawn.std(axis=1, ddof=1) / len(sample) ** 0.5
    ratios = (drawn.mean(axis=1) - sample.mean())[errors > 0] / errors[errors > 0]
    if not len(ratios):
        return float(sample.mean()), float(sample.mean())
    low, high = np.quantile(ratios, [0.025, 0.975])
    error = sample.std(ddof=1) / len(sample) ** 0.5
    return float(sample.mean() - high * error), float(sample.mean() - low * error)


def ours(sample: Values, rng: np.random.Generator) -> tuple[float, float]:
    found = interval(sample.tolist())
    assert found is not None
    return found


def t(sample: Values, rng: np.random.Generator) -> tuple[float, float]:
    half = float(stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / len(sample) ** 0.5)
    return float(sample.mean()) - half, float(sample.mean()) + half


METHODS: dict[str, Callable[[Values, np.random.Generator], tuple[float, float]]] = {
    "ours": ours, "t": t, "percentile": percentile, "studentised": studentised,
}  # fmt: skip


def coverage(population: Values, n: int, draws: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Share of samples of n prompts whose interval contains the population's mean, and widths."""
    truth = population.mean()
    hits: dict[str, int] = dict.fromkeys(METHODS, 0)
    widths: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(draws):
        sample = rng.choice(population, n)
        for name, method in METHODS.items():
            low, high = method(sample, rng)
            hits[name] += bool(low - ROUNDING <= truth <= high + ROUNDING)
            widths[name].append(high - low)
    found = {}
    for name in METHODS:
        to_t = [width / other for width, other in zip(widths[name], widths["t"], strict=True) if other > ROUNDING]
        middle, wide = np.percentile(to_t, [50, 95])
        found[name] = {
            "covered_percent": 100 * hits[name] / draws, "width": round(float(np.mean(widths[name])), 1),
            "median_to_t": round(float(middle), 2), "p95_to_t": round(float(wide), 2),
        }  # fmt: skip
    return found


def false_findings(comparisons: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Share of comparisons of equal models in which any of 15 cells is marked at all, or is marked worse."""
    bounds = list(RANGES.values())
    ranges = [WordRange(low=low, high=high, closed=high == bounds[-1][1]) for low, high in bounds]
    lengths = np.repeat([low for low, _ in bounds], PROMPTS_PER_RANGE)
    rows = [response(number, int(words)) for number, words in enumerate(lengths)]
    found = {name: {"any_percent": 0.0, "any_worse_percent": 0.0} for name in ("ours", "each_cell_alone")}
    share = 100 / comparisons
    for _ in range(comparisons):
        drawn = [scores(*part, rng, count) for part, count in zip(bounds, PROMPTS_PER_RANGE, strict=True)]
        pairs = np.concatenate([np.stack(pair, axis=1) for pair in drawn])
        quality = np.clip(rng.normal(75, 12, (len(rows), 1)) + rng.normal(0, 9, pairs.shape), 0, 100)
        swap = rng.random(len(rows)) < 0.5
        pairs[swap], quality[swap] = pairs[swap][:, ::-1], quality[swap][:, ::-1]
        one, other = ((rows, verdicts(rows, pairs[:, side], quality[:, side])) for side in (0, 1))
        cells = [c for part in regression(one, other, ranges, standard_metrics()).values() for c in part.values()]
        below, above = (any(cell.interval is not None and test(cell.interval) for cell in cells) for test in OUTSIDE)
        found["ours"]["any_percent"] += share * any(cell.is_worse or cell.is_better for cell in cells)
        found["ours"]["any_worse_percent"] += share * any(cell.is_worse for cell in cells)
        found["each_cell_alone"]["any_percent"] += share * (below or above)
        found["each_cell_alone"]["any_worse_percent"] += share * below
    return found


def response(number: int, required: int) -> Response:
    return Response(
        id=f"p{number}#0", prompt_id=f"p{number}", repeat=0, prompt="", language="en", type="", text="", words=0,
        required_words=required, finish_reason="stop", model="", sampling=None,
    )  # fmt: skip


def verdicts(rows: Sequence[Response], length: Values, quality: Values) -> list[Verdict]:
    return [
        Verdict(response_id=row.id, kind=kind, scorer=kind, score=float(values[number]))
        for number, row in enumerate(rows)
        for kind, values in (("length", length), ("quality", quality))
    ]


def kinds(rng: np.random.Generator) -> Iterator[tuple[str, Values]]:
    """Values of other kinds than the simulated scores, on which the method for few prompts was chosen."""
    normal, skewed = rng.normal(size=POPULATION), rng.exponential(size=POPULATION)
    sign = np.where(rng.random(POPULATION) < 0.5, -1, 1)
    mostly_up = np.where(rng.random(POPULATION) < 0.75, 1, -1)
    yield "normal", normal
    yield "whole numbers", np.round(normal)
    yield "uniform", rng.random(POPULATION)
    yield "long tails, Laplace", skewed * sign
    yield "longer tails, t with 3 degrees", rng.standard_t(3, POPULATION)
    yield "skewed, exponential", skewed
    yield "skewed, gamma 2", rng.gamma(2, size=POPULATION)
    yield "very skewed, log-normal 1", np.exp(normal)
    for percent in (10, 20, 30, 40):
        is_other = rng.random(POPULATION) < percent / 100
        yield f"{percent}% other than 0, normal", is_other * normal
        yield f"{percent}% other than 0, three of four above", is_other * skewed * mostly_up
        yield f"{percent}% other than 0, all above", is_other * skewed


def real_differences(paths: Sequence[str]) -> Iterator[tuple[str, Values]]:
    """Differences of every two runs of one bench in each score, over the prompts that both have scored."""
    for group in load(paths).groups:
        for one, other in combinations(group.evaluations, 2):
            for metric in group.metrics:
                a, b = (prompt_means(each.answers, metric.name) for each in (one, other))
                shared = sorted(a.keys() & b.keys())
                if len(shared) >= FEWEST_PROMPTS:
                    label = f"{metric.label} of {one.label} and {other.label}, {len(shared)} prompts"
                    yield label, np.array([a[prompt] - b[prompt] for prompt in shared])


def real_coverage(paths: Sequence[str], rng: np.random.Generator) -> Results:
    """Coverage at n = 11 for each pair of runs and score, and the lowest of each method."""
    found = {label: coverage(values, 11, REAL_DRAWS, rng) for label, values in real_differences(paths)}
    lowest = {
        name: {"covered_percent": min(row[name]["covered_percent"] for row in found.values())} for name in METHODS
    }
    return {**found, "lowest": lowest}


def main() -> None:
    """Coverage by range and number of prompts and comparisons of equal models; or coverage of other values."""
    is_quick = "--quick" in sys.argv[1:]
    if paths := [argument for argument in sys.argv[1:] if not argument.startswith("--")]:
        show("intervals_real", real_coverage(paths, np.random.default_rng(0)), ("numpy", "lwexp"))
        return
    draws, comparisons = (100, 40) if is_quick else (2_000, 1_000)
    rng = np.random.default_rng(0)
    if "--kinds" in sys.argv[1:]:
        counts = (5, 11) if is_quick else (5, 8, 11, 20, 29)
        few = draws // 4
        covered = {f"{kind}, n={n}": coverage(values, n, few, rng) for kind, values in kinds(rng) for n in counts}
        show("intervals_kinds", covered, ("numpy", "scipy", "lwexp"))
        return
    results: Results = {"comparisons of equal models": false_findings(comparisons, rng)}
    for label, (low, high) in RANGES.items():
        first, second = scores(low, high, rng)
        for n in (5, 11, 20):
            results[f"difference, {label}, n={n}"] = coverage(first - second, n, draws, rng)
        results[f"mean, {label}, n=11"] = coverage(second, 11, draws, rng)
    show("intervals", results, ("numpy", "lwexp"))


if __name__ == "__main__":
    main()
