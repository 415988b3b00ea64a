"""Row types of an evaluation: prompts, answers, verdicts, judgements, checks, comparisons, published numbers."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from lwexp.records.rows import Language, Reasoning, Row

# Omitted from files when empty, so that rows and ids of benches without details do not change.
Details = Annotated[dict[str, JsonValue], Field(exclude_if=lambda details: not details)]


class LengthRule(Row):
    """Which lengths a prompt allows; the ends are words."""

    kind: Literal["about", "at_least", "at_most", "between"]
    low: int | None = Field(default=None, gt=0)
    high: int | None = Field(default=None, gt=0)


# Of a bench that states it; omitted if it does not, so that rows and ids of other benches do not change.
StatedRule = Annotated[LengthRule | None, Field(exclude_if=lambda rule: rule is None)]


class Prompt(Row):
    """One prompt of a bench."""

    id: str
    text: str
    language: Language
    type: str
    required_words: int | None = Field(gt=0)  # the length it asks for; None if it asks for no length
    length_rule: StatedRule = None  # None: the bench does not say; the words of the prompt do
    details: Details = Field(default_factory=dict)  # other columns of the bench, for its metrics


class Sampling(Row):
    """Every parameter that shapes a sampled answer, so that none is left to a server's default."""

    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)  # 0 switches it off
    repetition_penalty: float = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    seed: int
    # Omitted when off, so that rows of earlier versions are equal to new ones.
    stop_after_repeats: int = Field(default=0, ge=0, exclude_if=lambda repeats: repeats == 0)


class Response(Row):
    """A model's answer to one prompt of a bench (or to one instruction, when building pairs)."""

    id: str  # "<prompt_id>#<repeat>"
    prompt_id: str
    repeat: int = Field(ge=0)
    prompt: str
    language: Language
    type: str
    required_words: int | None = Field(gt=0)
    length_rule: StatedRule = None  # of the prompt
    details: Details = Field(default_factory=dict)  # of the prompt
    text: str  # the answer alone
    words: int = Field(ge=0)
    reasoning: Reasoning = ""  # the model's reasoning before the answer
    # "loop": stopped by ``stop_after_repeats``; "unknown": an imported answer without this information; "error": no
    # answer arrived, and the text is empty.
    finish_reason: Literal["stop", "length", "loop", "error", "unknown"]
    model: str
    sampling: Sampling | None  # None: an imported answer without this information

    @classmethod
    def unanswered(cls, prompt: Prompt, repeat: int, model: str, sampling: Sampling | None) -> Self:
        """A response whose answer has not arrived yet."""
        return cls(
            id=f"{prompt.id}#{repeat}", prompt_id=prompt.id, repeat=repeat, prompt=prompt.text,
            language=prompt.language, type=prompt.type, required_words=prompt.required_words,
            length_rule=prompt.length_rule, details=prompt.details,
            text="", words=0, finish_reason="error", model=model, sampling=sampling,
        )  # fmt: skip


class Verdict(Row):
    """A score of one response by one metric, or the reason there is none."""

    response_id: str
    kind: str  # the metric's kind: "length", "quality" or a plugin's
    scorer: str  # the metric's name, such as "S_l", or the judge's model name
    score: float | None = Field(allow_inf_nan=False)  # on the metric's scale: 0..100 for the paper's
    dimensions: dict[str, float] = Field(default_factory=dict)
    unscored_reason: str | None = None

    @model_validator(mode="after")
    def the_papers_scores_are_on_a_hundred(self) -> Self:
        """Other metrics have their own scales, which are checked when they are scored."""
        if self.kind in ("length", "quality") and self.score is not None and not 0 <= self.score <= 100:
            raise ValueError(f"score must be between 0 and 100, got {self.score}")
        return self


class MetricInfo(Row):
    """What a report needs to know about a metric; metrics.json of an evaluation run has one for each metric."""

    kind: str  # as in verdicts.jsonl
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")  # in tables, columns and summary.json
    label: str  # the same in running text
    title: str  # over figures
    meaning: str  # one sentence
    scale: tuple[float, float] = (0, 100)
    higher_is_better: bool = True
    decimals: int = Field(default=1, ge=0, le=6)
    needs_length: bool = False
    needs_judge: bool = False
    of: tuple[str, ...] = ()  # kinds that it averages; such a metric has no verdicts itself


class Judgement(Row):
    """One reply of a judge: its scores, or why there are none. ``score`` is on the metric's scale."""

    kind: str = "quality"
    response_id: str
    repeat: int = Field(ge=0)  # of the judge, not of the answer
    scorer: str
    score: float | None = Field(allow_inf_nan=False)
    dimensions: dict[str, float]  # name -> 1..5 for S_q; empty if unscored
    # What the judge says of each dimension; omitted if the metric asks for no reasons.
    reasons: dict[str, str] = Field(default_factory=dict, exclude_if=lambda reasons: not reasons)
    unscored_reason: str | None


class AnswerCheck(Row):
    """Properties of an answer's text, computed without a judge. They never change a score."""

    response_id: str
    words_longwriter: int = Field(ge=0)
    words_unicode: int = Field(ge=0)
    stopped_early: bool  # ended on its own with less than half of the requested words
    loops: bool  # the end of the text repeats itself
    looped_words: int = Field(ge=0)  # unicode words of the repeating end; 0 without a loop
    directed: tuple[str, ...]  # signs that the text addresses a judge; empty for most
    # How much of the text is reasoning, a next turn or a loop, in words of the bench's counter. Rows of older runs get
    # these defaults, because they were not checked.
    reasoning_words: int = Field(default=0, ge=0)  # beside the text, in ``Response.reasoning``
    next_turn: str = ""  # rule that found the model playing the next turn of the chat; empty for most
    words_without_next_turn: int | None = Field(default=None, ge=0)
    clean_words: int | None = Field(default=None, ge=0)  # also without the repeats of a loop at the end
    # Scores that obey the prompt's length instruction; the defaults are those of prompts without a length.
    length_rule: Literal["", "about", "at_least", "at_most", "between"] = ""
    S_l_obeyed: float | None = Field(default=None, ge=0, le=100)  # S_l, but 100 for every length that is allowed
    length_deviation: float | None = None  # share by which the nearest allowed length is missed
    life_score: float | None = Field(default=None, ge=0, le=100)  # LIFEBench's Length Score


class SegmentCheck(Row):
    """One segment of an answer; segments are consecutive, and cut between paragraphs if possible."""

    response_id: str
    segment: int = Field(ge=0)  # 0 is the beginning
    segments: int = Field(ge=1)
    words: int = Field(ge=0)  # of this segment, by the unicode counter
    repeated: float | None = Field(ge=0, le=1)  # share of its 4-grams that occur earlier in the answer
    distinct: float | None = Field(ge=0, le=1)  # different 2-grams / 2-grams, over windows of 100 words
    quality: float | None = Field(ge=0, le=100)  # S_q of the segment; None without judge.segments, or unscored
    dimensions: dict[str, float]
    unscored_reason: str | None


class PairJudgement(Row):
    """One comparison of two answers to a prompt, in one order; ``winner`` is a side, not a position."""

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
    """One published number, with its source and set-up. Never shown next to another judge or bench."""

    model: str
    bench: str  # as in its config, such as longbench_write
    range: str | None  # as WordRange.label; None for all prompts
    metric: str  # its name in tables, such as S_q; max_words for the longest answer
    value: float | None  # None: published only as an image, or not at all
    judge: str | None  # None for lengths
    source: str
    setup: str  # decoding and data as far as known, and differences from lwexp
    is_second_hand: bool  # taken from a copy or a quotation, not from the paper itself
