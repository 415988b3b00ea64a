"""JSON objects and rows other than the manifest: mixture, metrics, judge, comparisons, sweep."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lwexp.records import parse_json
from lwexp.runs.artifacts import SUMMARY, Artifact, Tree
from lwexp.text.plain import one_line

AskedAbout = Literal["answers", "segments", "pairs", "anchors"]
"""What a judge was asked about."""


class MixtureRow(Artifact):
    """One source of a mixture."""

    source: str
    available: int
    filtered: int = 0
    taken: int
    words_min: int
    words_median: float
    words_max: int
    share_of_rows: float
    share_of_words: float


class MixtureSummary(Artifact):
    """The rows that a training run drew."""

    FILE: ClassVar[str] = "mixture.json"

    tally: str
    table: list[MixtureRow]
    answer_words: list[int]
    """Words of every training answer (for pairs, the chosen one), sorted."""


class MetricsRow(Artifact):
    """A row of metrics.jsonl: means over the steps since the previous row. Objectives add their own columns."""

    step: int
    loss: float | None = None
    """None if every step since the previous row was skipped."""
    lr: float = math.nan
    grad_norm: float | None = None
    target_tokens: int = 0
    """Since the start of the run."""
    seconds: float = 0
    """Training time since the start of the run."""
    weight: float | None = None
    """Loss weight of all documents of these steps; older versions and some objectives do not record it."""
    long_weight: float | None = None
    """The part of ``weight`` on long documents, which together hold half of all target tokens."""


class MetricJudgeSummary(Artifact):
    """How a judge scored the answers of a run by one metric."""

    metric: str = "S_q"
    prompt: str
    """Name of the judge's prompt."""
    prompt_sha256: str
    answers: int
    scored: int
    unscored: dict[str, int]
    """Reason -> answers."""
    alpha: dict[str, float | None]
    """Dimension or metric -> Krippendorff's alpha over repeats; None without two judgements of an answer."""
    mean_absolute_difference: float | None
    """Mean difference, in points of the metric, between two judgements of one answer."""
    compared: int
    """Answers with two or more judgements."""


class JudgeSummary(MetricJudgeSummary):
    """The judge of a run, with the summary of the first judged metric."""

    FILE: ClassVar[str] = "judge.json"

    model: str
    temperature: float | None
    """None if none was sent, so that the provider's default applied."""
    repeats: int
    further: tuple[MetricJudgeSummary, ...] = ()
    """The same for the other judged metrics."""


class JudgeFailure(Artifact):
    """Questions to a judge that had no usable reply for the same reason, with an example."""

    about: AskedAbout
    reason: str
    may_come: bool
    """Whether the same command asks them again."""
    count: int
    question: str
    """The example's question: the metric, the answer's id and the repeat."""
    detail: str
    reply: str
    """The example's reply, cut if it is long; empty if there was none."""

    def __str__(self) -> str:
        """One line: ``2 unreadable (no JSON object in it), such as p1#0: 'Sure!'``."""
        said = f": {one_line(self.reply, 150)!r}" if self.reply else ""
        reason, detail = self.reason.replace("_", " "), one_line(self.detail, 150)
        return f"{self.count:,} {reason} ({detail}), such as {self.question}{said}"


class JudgeFailures(Artifact):
    """Why a judge gave no score, and what it said instead. The file is absent if every question has its reply."""

    FILE: ClassVar[str] = "judge_failures.json"

    failures: list[JudgeFailure]

    @classmethod
    def of(cls, folder: Path) -> list[JudgeFailure]:
        """The failures of a run; none if it has no such file."""
        found = cls.read(folder)
        return found.failures if found else []

    def write(self, folder: Path) -> None:
        """Write the file, or remove it if there is nothing to say."""
        if self.failures:
            super().write(folder)
        else:
            (folder / self.FILE).unlink(missing_ok=True)


class AnchorPair(Artifact):
    """A judge's S_q of a good answer and of its words shuffled; None without a readable reply."""

    id: str
    good: float | None
    salad: float | None


class JudgeAnchors(Artifact):
    """Whether a judge tells good answers from shuffled words by ``least_gap`` points of S_q; None if not checked."""

    FILE: ClassVar[str] = "judge_anchors.json"

    model: str
    least_gap: float
    separates: bool | None
    pairs: list[AnchorPair]

    def __str__(self) -> str:
        return ", ".join(f"{pair.id} {pair.good} against {pair.salad}" for pair in self.pairs)


class PairwiseSummary(Artifact):
    """Two evaluations compared answer by answer, each pair judged in both orders."""

    FILE: ClassVar[str] = "pairwise.json"

    other: str
    """Id of the other run."""
    scorer: str
    prompts: int
    ours: int
    other_wins: int
    ties: int
    unscored: int
    win_rate: float | None
    """0 to 1; a tie counts as half."""
    interval: tuple[float, float] | None
    """95%, over prompts."""
    first_shown_wins: float | None
    """Share of decided calls won by the answer shown first; 0.5 means that the judge has no position bias."""


class PairedDifference(Artifact):
    """A score of two runs over the prompts that both have."""

    n: int
    ours: float
    other: float
    difference: float
    interval: tuple[float, float] | None
    """95% interval of the difference over prompts, not corrected for other cells."""
    p_value: float | None = None
    """p value of a paired t test in this cell, not corrected for other cells."""
    p_holm: float | None = None
    """``p_value`` after Holm's correction over all cells of the comparison."""
    is_worse: bool
    """Whether ours is worse by both ``p_holm`` and the interval; in older runs by one of them."""
    is_better: bool = False


class RegressionSummary(Artifact):
    """Whether a model is worse than another: range of required lengths -> score -> paired difference."""

    FILE: ClassVar[str] = "regression.json"

    other: str
    ranges: dict[str, dict[str, PairedDifference]]
    """The label "all" is every prompt."""


class SweepSummary(Artifact):
    """A sweep's question, the keys that differ between its trials, and what its jobs need; beside trials.json."""

    FILE: ClassVar[str] = "sweep.json"

    name: str
    question: str = ""
    varied: list[str] | None = None
    unanswered_minutes: int | None = Field(default=None, ge=1)  # hydra.launcher's, on SLURM


def varied_keys(job_overrides: Sequence[Sequence[str]]) -> list[str]:
    """Keys whose value is not the same in every trial, in the order of the command line.

    Example: [["seed=0", "lr=1"], ["seed=0", "lr=2"]] gives ["lr"].
    """
    rows = [dict(item.lstrip("+~").partition("=")[::2] for item in job) for job in job_overrides]
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if len({row.get(key) for row in rows}) > 1]


class ModelSummary(Artifact):
    """A model's numbers over the whole bench. Each metric adds <name>, <name>_interval and <name>_by_seed."""

    max_words: int | None = None
    max_words_clean: int | None = None
    """Without loops and next turns played by the model; None if unknown."""
    S_l_clean: float | None = Field(default=None, exclude_if=lambda score: score is None)
    """S_l without loops and next turns; absent if the bench has no S_l."""
    length_volatility: float | None = Field(default=None, exclude_if=lambda value: value is None)
    """How the length of repeated answers scatters, in percent; absent without repeats."""
    length_volatility_interval: tuple[float, float] | None = Field(default=None, exclude_if=lambda ends: ends is None)
    n: int = 0
    """Answers that are not missing."""
    n_missing: int = 0
    """Missing answers; they enter no other number."""
    n_prompts: int = 0
    """Prompts with an answer."""
    n_unscored: int = 0
    n_empty: int = 0
    n_cut: int | None = 0
    """Answers that hit the token limit; None if no answer says how it ended."""
    median_words: float | None = None
    max_train_words: int | None = None
    seeds: list[int | None] = Field(default_factory=list)
    """Sampling seed of each repeat; None if a repeat's answers do not share one."""
    run: str = ""
    """Id of the evaluation."""


class GroupSummary(Artifact):
    """Models that were compared with each other: one bench, one judge."""

    models: dict[str, ModelSummary] = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=list)
    judge: str | None = None
    bench: str = ""
    coverage: str = ""
    """A note if the models did not answer the same prompts; else empty."""
    common: dict[str, Tree] = Field(default_factory=dict)
    """If ``coverage`` is not empty: each model's means over the prompts that all models answered."""
    checks: dict[str, Tree] = Field(default_factory=dict)
    """Name of an expected result -> whether it holds, in words and in numbers."""


class ComparisonSummary(GroupSummary):
    """A report in numbers: its first group, whose models are also at the top level by name."""

    FILE: ClassVar[str] = SUMMARY

    headline: str = ""
    notes: list[str] = Field(default_factory=list)
    groups: list[GroupSummary] = Field(default_factory=list)
    """All groups, if there are several."""
    judges: list[Tree] = Field(default_factory=list)
    """Every two judges of the same answers: their means and how far they agree, per score."""
    sweep: Tree | None = None
    """Question, finding, fit and trials of a sweep."""


def read_metrics(path: Path) -> list[Tree]:
    """Rows of a file with one row per step. Unreadable lines, such as after a kill during a write, are skipped."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict) and line.endswith(b"\n"):
            rows.append(row)
    return rows
