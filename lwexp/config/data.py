"""Schema of the data side: instructions, AgentWrite, import, preference pairs, mixtures, packs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lwexp.extend import Key, OneOf, Strict
from lwexp.extend.source import DATA_SOURCES, PAIR_SOURCES, DataSource, PairSource


class SyntheticInstructions(Strict):
    """Instructions made from topics and lengths, for the offline miniature."""

    kind: Literal["synthetic"]
    count: int = Field(ge=1)
    """How many instructions to make."""
    required_words: tuple[int, ...] = Field(min_length=1)
    """Lengths asked for; each language and length gets an equal share of ``count``."""


class InstructionFile(Strict):
    """A JSONL file of Instruction rows, or of {"text"|"prompt"|"instruction": ...} rows."""

    kind: Literal["file"]
    path: str
    """File with one instruction per row; formats: docs/generate.md."""
    count: int | None = Field(None, ge=1)
    """Take only this many, the first ones; null takes all."""


class SelectedInstructions(Strict):
    """Instructions that ``generate_data.py task=select`` kept."""

    kind: Literal["selected"]
    run: str = "newest"
    """A run directory or run name; "newest" takes the newest finished select run under root."""
    count: int | None = Field(None, ge=1)
    """Take only this many, the first ones; null takes all."""


class SelectCounts(Strict):
    """How many instructions to keep of each language (the paper: 3,000 each)."""

    en: int = Field(ge=0)
    """English instructions to keep."""
    zh: int = Field(ge=0)
    """Chinese instructions to keep."""


class SelectConfig(Strict):
    """Selection: which first-turn instructions of a conversation set need a long answer."""

    counts: SelectCounts
    max_rows: int | None = Field(None, ge=1)
    """Read at most this many rows; null reads on until the counts are full or the rows end."""
    min_words: int = Field(ge=1)
    """A long answer has at least this many words (the paper: 2,000)."""
    min_instruction_words: int = Field(5, ge=1)
    """Shorter instructions are rejected (words, or Chinese characters)."""
    max_instruction_words: int = Field(1000, ge=1)
    """Longer instructions tend to include a text to work on, and that text then sets the length of the answer."""
    near_duplicate_threshold: Annotated[float | None, Key(formerly="near_duplicate")] = Field(0.8, gt=0, le=1)
    """Two instructions with at least this Jaccard similarity are duplicates; null drops exact duplicates only."""
    toxic: Literal["drop", "keep"] = "drop"
    """What to do with rows that carry a toxicity flag. Rows without flags are not affected."""
    anchors: Annotated[Literal["warn", "refuse", "off"], Key("speed")] = "warn"
    """What to do about a teacher that gives a wrong answer about instructions that plainly need a long answer or a
    short one: two per language are asked about first. The offline teacher is never checked."""


class PlanLimits(Strict):
    """How a plan is asked for, and its bounds. A plan outside them is requested once more, then refused."""

    form: Annotated[Literal["text", "schema", "auto"], Key(neutral="text")] = "text"
    """text asks for lines in the paper's form. schema sends a JSON schema with the bounds below, which small models
    need to plan at all. auto: schema if the teacher accepts one, else text."""
    max_steps: int = Field(50, ge=1)
    """A plan with more steps is refused (the original's limit: 50)."""
    min_step_words: int = Field(5, ge=1)
    """A plan with a shorter step is refused: such a step is not worth a call, or its count was misread."""
    max_step_words: int = Field(2000, ge=1)
    """A plan with a longer step is refused: a model would not write so many words in one answer."""
    length_tolerance: float | None = Field(gt=0)
    """The steps must add up to the stated length times 1 -/+ this; null accepts any total."""


class GenerateConfig(Strict):
    """AgentWrite: instructions -> plans -> drafts -> conversations."""

    instructions: Annotated[SyntheticInstructions | InstructionFile | SelectedInstructions, Field(discriminator="kind")]
    mode: Literal["sequential", "parallel", "direct"]
    """parallel writes each paragraph without the text so far, direct asks for the whole text in one call without a
    plan: the paper's ablations."""
    prompts: str | None = None
    """Folder with plan_en.txt, write_en.txt, plan_zh.txt, write_zh.txt; null for lwexp's own.
    $INST$ $PLAN$ $TEXT$ $STEP$ are accepted as placeholders."""
    plan: PlanLimits
    retry_max_tokens_factor: Annotated[float | None, Key(formerly="retry_room")] = Field(2.0, gt=1)
    """A paragraph cut at teacher.max_tokens is asked for once more with this many times the tokens, then kept and
    flagged; null keeps the cut one at once."""
    min_words: int = Field(0, ge=0)
    """Drafts shorter than this are dropped."""


class DraftInstructions(Strict):
    """The instructions of the SFT run's own drafts, taken evenly over required lengths."""

    kind: Literal["drafts"]
    count: int = Field(ge=1)
    """How many of them to take."""


class PairsConfig(Strict):
    """Preference pairs: n answers per instruction from an SFT run, scored, best against another."""

    n: int = Field(ge=2)
    """Answers per instruction (the paper: 4)."""
    instructions: Annotated[DraftInstructions | SyntheticInstructions | InstructionFile, Field(discriminator="kind")]
    """What to answer; synthetic ones are made with another seed than those of the drafts."""
    temperature: float = Field(gt=0)
    """Sampling temperature of the answers that are compared."""
    rejected: Annotated[Literal["random", "worst", "margin"], Key("choice")]
    """random is the paper's policy: one of the others, drawn with the run's seed. worst has the lowest score. margin
    has the highest score that is still min_margin below the best: the hardest pair that is not noise."""
    min_margin: Annotated[float, Key("choice")] = Field(ge=0)
    """A pair whose scores differ by less (0..100) teaches noise and is not built."""
    min_scored: Annotated[int, Key("choice")] = Field(2, ge=2)
    """How many answers to an instruction must have a score; the best of two tends to be worse than the best of four."""
    length_ratio: Annotated[float | None, Key("choice")] = Field(None, ge=1)
    """Length-matched pairs: the longer answer has at most this many times the words of the shorter, such as 1.25, so
    that DPO cannot learn "longer" or "shorter" instead of "better"; null takes any lengths."""
    min_chosen: Annotated[float, Key("choice")] = Field(0.0, ge=0, le=100)
    """Lowest score of a chosen answer, because the best of n bad answers is still bad."""
    truncated_chosen: Annotated[Literal["skip", "keep"], Key("choice", formerly="unfinished")] = "skip"
    """Whether an answer cut at max_new_tokens may be chosen; DPO then learns to stop where it was cut."""

    @model_validator(mode="after")
    def enough_answers_are_asked_for(self) -> PairsConfig:
        """Requiring more scored answers than there are answers would skip every instruction."""
        if self.min_scored > self.n:
            raise ValueError(
                f"pairs.min_scored={self.min_scored}: pairs.n={self.n} answers are sampled; set it to n or less"
            )
        return self


class FilterConfig(Strict):
    """task=import: which rows to leave out, each with a reason in import_failures.jsonl."""

    drop_refusals: bool = False
    """Leave out rows in which an answer is a refusal."""
    min_words: int | None = Field(None, ge=0)
    """Fewest words that the longest answer of a row may have."""
    max_words: int | None = Field(None, ge=1)
    """Longer documents are dropped and counted; null: no limit."""
    min_length_score: float | None = Field(None, ge=0, le=100)
    """Keep rows whose instruction states exactly one length, with S_l of the answer at least this; null: all rows."""

    @model_validator(mode="after")
    def limits_leave_room(self) -> FilterConfig:
        """min_words above max_words would leave nothing."""
        if self.min_words is not None and self.max_words is not None and self.min_words > self.max_words:
            raise ValueError(f"filter: min_words={self.min_words} is above max_words={self.max_words}")
        return self


class ExportConfig(Strict):
    """task=export: a finished run's rows in the format of another trainer, or its page and card written again."""

    run: str = "newest"
    """A data, import or pairs run: a run directory, a run name, or "newest"."""
    format: Literal["trl", "llamafactory", "swift", "viewer"] = "trl"
    """viewer writes viewer.html and README.md into the run directory again."""
    rows: Literal["auto", "conversations", "pairs"] = "auto"
    """auto exports pairs if the run has them."""
    to: str | None = None
    """Folder for the file; null takes export/<format> in the run directory."""
    name: str | None = Field(None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$")
    """Name of the file and of LLaMA-Factory's entry; null takes the run's id."""


class MixtureConfig(Strict):
    """Explicit counts per source, in conversations (for SFT) and in pairs (for DPO)."""

    path: Annotated[str | None, Key("label", neutral=None)] = None
    """The file of mixture=file: one of your own, with conversations or, for DPO, preference pairs."""
    sources: dict[str, Annotated[DataSource, OneOf(DATA_SOURCES)]] = Field(default_factory=dict)
    pairs: dict[str, Annotated[PairSource, OneOf(PAIR_SOURCES)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def path_is_read(self) -> MixtureConfig:
        """Only mixture=file has a source that reads it."""
        everything = [*self.sources.values(), *self.pairs.values()]
        if self.path is not None and all(getattr(source, "path", None) != self.path for source in everything):
            raise ValueError(f"mixture.path={self.path}: no source reads it; add mixture=file")
        return self

    @model_validator(mode="after")
    def word_limits_leave_room(self) -> MixtureConfig:
        """min_words above max_words would select nothing."""
        for name, source in self.sources.items():
            low, high = source.min_words, source.max_words
            if low is not None and high is not None and low > high:
                raise ValueError(f"mixture.sources.{name}: min_words={low} is above max_words={high}")
        return self


class PackConfig(Strict):
    """How documents share one sequence."""

    max_tokens: int = Field(ge=16)
    """Capacity of a pack, in tokens (the paper: 32,768)."""
    overflow: Literal["error", "drop"] = "error"
    """A document longer than a pack stops the run, or is dropped and counted. Never truncated."""
    strategy: Literal["exact_fit", "best_fit", "best_fit_decreasing"] = "exact_fit"
    """exact_fit and best_fit keep the mixture's order, so lengths mix within a pack; decreasing puts documents of
    similar length together, which harms training with small steps (docs/decisions/003 and 013)."""
    order: Literal["balanced", "random"] = "balanced"
    """balanced gives a step packs of similar attention cost, so that ranks finish together; random uses any packs."""
