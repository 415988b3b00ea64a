"""Row types of an evaluation beyond answers and verdicts: single judgements, checks, positions, pairs of answers."""

from typing import Literal

from pydantic import Field

from lwexp.records.rows import Row


class MetricInfo(Row):
    """What a report must know of a metric; metrics.json of an evaluation run holds one for each of its metrics."""

    kind: str  # in verdicts.jsonl
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")  # in tables, columns and summary.json
    label: str  # the same in running text
    title: str  # over figures
    meaning: str  # one sentence
    scale: tuple[float, float] = (0, 100)
    higher_is_better: bool = True
    decimals: int = Field(default=1, ge=0, le=6)
    needs_length: bool = False
    needs_judge: bool = False
    of: tuple[str, ...] = ()  # kinds whose mean it is; such a metric has no verdicts of its own


class Judgement(Row):
    """One reply of a judge: its scores, or why there are none. ``score`` is on the metric's scale."""

    kind: str = "quality"
    response_id: str
    repeat: int = Field(ge=0)  # of the judge, not of the answer
    scorer: str
    score: float | None = Field(allow_inf_nan=False)
    dimensions: dict[str, float]  # name -> 1..5 for S_q; empty where unscored
    unscored_reason: str | None


class Check(Row):
    """What a text shows without a judge. A flag never changes a score."""

    response_id: str
    words_longwriter: int = Field(ge=0)
    words_unicode: int = Field(ge=0)
    stopped_early: bool  # ended by itself with less than half of what was asked for
    loops: bool  # the end of the text repeats itself
    looped_words: int = Field(ge=0)  # unicode words of the repeating end; 0 without a loop
    directed: tuple[str, ...]  # names of the signs that the text talks to a judge; empty for most


class Position(Row):
    """One segment of one answer: segments are consecutive, cut between paragraphs where possible."""

    response_id: str
    segment: int = Field(ge=0)  # 0 is the beginning
    segments: int = Field(ge=1)
    words: int = Field(ge=0)  # of this segment, by the unicode counter
    repeated: float | None = Field(ge=0, le=1)  # share of its 4-grams that stand earlier in the answer
    distinct: float | None = Field(ge=0, le=1)  # different 2-grams / 2-grams, over windows of 100 words
    quality: float | None = Field(ge=0, le=100)  # S_q of the segment; None without judge.segments, or unscored
    dimensions: dict[str, float]
    unscored_reason: str | None


class PairJudgement(Row):
    """One comparison of two answers to a prompt, in one order; ``winner`` is who wrote it, not where it stood."""

    prompt_id: str
    repeat: int = Field(ge=0)  # of the answers
    response_id: str  # ours
    other_response_id: str
    other: str  # id of the other evaluation run
    shown_first: Literal["ours", "other"]
    scorer: str
    winner: Literal["ours", "other", "tie"] | None
    unscored_reason: str | None


class PublishedCell(Row):
    """One published number, with where it stands and what was measured. Never shown beside another judge or bench."""

    model: str
    bench: str  # as in its config, such as longbench_write
    range: str | None  # as WordRange.label; None for all prompts
    metric: str  # its name in tables, such as S_q; max_words for the longest answer
    value: float | None  # None: printed in an image or nowhere; unknown
    judge: str | None  # None for lengths
    source: str
    setup: str  # decoding and data, as far as known, and how it differs from ours
    is_second_hand: bool  # read in a copy or a quotation, not in the paper itself
