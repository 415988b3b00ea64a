"""Row types that rooms exchange. Failures are rows of their own (``Failure``), never text in another row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

Language = Literal["en", "zh"]
Role = Literal["system", "user", "assistant"]
# Left out of files where it is empty, so that rows and ids of benches without it stay as they are.
Details = Annotated[dict[str, JsonValue], Field(exclude_if=lambda details: not details)]


class LwexpError(Exception):
    """A mistake the user can mend. Entry scripts print it in one line and exit with code 2."""


class Preempted(BaseException):
    """Told to stop (SIGTERM), and everything done so far is saved. Entry scripts exit with code 143."""


class Row(BaseModel):
    """Base of every row: immutable, and strict about unknown columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(Row):
    """One turn of a conversation."""

    role: Role
    content: str


class Instruction(Row):
    """What a user asks for."""

    id: str
    text: str
    language: Language
    source: str
    required_words: int | None = Field(default=None, gt=0)


class PlanStep(Row):
    """One paragraph's line in a plan: its main point and its word count.

    Where the teacher gave a range, ``words`` is its middle and ``range`` holds its ends.
    """

    point: str
    words: int = Field(gt=0)
    range: tuple[int, int] | None = None


class Plan(Row):
    """AgentWrite step I: an ordered outline. ``text`` is the teacher's own wording."""

    text: str
    steps: tuple[PlanStep, ...] = Field(min_length=1)

    @property
    def words(self) -> int:
        """Sum of the word counts of all steps."""
        return sum(step.words for step in self.steps)


class Draft(Row):
    """AgentWrite step II: one paragraph a step; joined by blank lines they are the output."""

    id: str
    instruction: Instruction
    plan: Plan
    paragraphs: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    teacher: str
    cost_usd: float = Field(ge=0)

    @property
    def text(self) -> str:
        """The paragraphs, joined by blank lines."""
        return "\n\n".join(self.paragraphs)


class Conversation(Row):
    """Messages for SFT, with where they came from."""

    id: str
    source: str
    language: Language
    messages: tuple[Message, ...] = Field(min_length=2)
    required_words: int | None = None
    actual_words: int
    teacher: str | None = None
    cost_usd: float | None = None
    finish_reasons: tuple[str, ...] = ()
    plan: str | None = None
    prompt_sha: str | None = None  # of the messages before the last answer, see ``prompt_sha``


class PreferencePair(Row):
    """TRL's explicit-prompt conversational form, plus scores and lengths where they are known."""

    id: str
    source: str
    language: Language
    prompt: tuple[Message, ...] = Field(min_length=1)
    chosen: str
    rejected: str
    chosen_score: float | None = None
    rejected_score: float | None = None
    chosen_words: int
    rejected_words: int
    required_words: int | None = None


class Prompt(Row):
    """One prompt of a bench."""

    id: str
    text: str
    language: Language
    type: str
    required_words: int | None = Field(gt=0)  # the length it asks for; None: it asks for none
    details: Details = {}  # what else its bench says of it, for the bench's metrics


class Sampling(Row):
    """Every parameter that shapes a sampled answer. Nothing is left to a server's default."""

    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)  # 0 switches it off
    repetition_penalty: float = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    seed: int


class Response(Row):
    """A model's answer to one prompt of a bench (or to one instruction, when building pairs)."""

    id: str  # "<prompt_id>#<repeat>"
    prompt_id: str
    repeat: int = Field(ge=0)
    prompt: str
    language: Language
    type: str
    required_words: int | None = Field(gt=0)
    details: Details = {}  # of the prompt
    text: str
    words: int = Field(ge=0)
    # "unknown": somebody else's answer that does not say; "error": none came, and the text is empty.
    finish_reason: Literal["stop", "length", "error", "unknown"]
    model: str
    sampling: Sampling | None  # None: somebody else's answer that does not say

    @classmethod
    def unanswered(cls, prompt: Prompt, repeat: int, model: str, sampling: Sampling | None) -> Response:
        """The response as it stands until an answer comes."""
        return cls(
            id=f"{prompt.id}#{repeat}", prompt_id=prompt.id, repeat=repeat, prompt=prompt.text,
            language=prompt.language, type=prompt.type, required_words=prompt.required_words, details=prompt.details,
            text="", words=0, finish_reason="error", model=model, sampling=sampling,
        )  # fmt: skip


class Verdict(Row):
    """A score of one response by one metric, or the reason there is none."""

    response_id: str
    kind: str  # of the metric: "length", "quality" or a plugin's
    scorer: str  # the metric's name, such as "S_l", or the judge's model name
    score: float | None = Field(allow_inf_nan=False)  # on the metric's scale: 0..100 for the paper's
    dimensions: dict[str, float] = {}
    unscored_reason: str | None = None

    @model_validator(mode="after")
    def the_papers_scores_are_on_a_hundred(self) -> Verdict:
        """Other metrics have scales of their own, which are checked where their scores are made."""
        if self.kind in ("length", "quality") and self.score is not None and not 0 <= self.score <= 100:
            raise ValueError(f"score must lie on 0 to 100, got {self.score}")
        return self


class Failure(Row):
    """Something that was asked for and did not come: typed, counted, never stored as text elsewhere."""

    id: str
    stage: str
    reason: str  # a short stable word: "refusal", "too_short", "bad_plan", "time_out", ...
    detail: str
    attempts: int = Field(ge=0)


def prompt_sha(prompt: Sequence[Message]) -> str:
    """What a prompt is known by across data sets: sha256 of its texts, 64 hex digits.

    Of a single message it is the plain sha256 of its UTF-8 text; several are joined by a zero byte.
    """
    text = "\0".join(message.content for message in prompt)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Tally(NamedTuple):
    """Counts of a step. They must add up: what came in is what was kept plus every named loss."""

    received: int
    kept: int
    lost: dict[str, int]

    def __str__(self) -> str:
        """``6,000 in = 5,812 kept + 131 refused + 57 too long``."""
        losses = "".join(f" + {n:,} {reason.replace('_', ' ')}" for reason, n in sorted(self.lost.items()))
        return f"{self.received:,} in = {self.kept:,} kept{losses}"


def tally(received: int, kept: int, reasons: Iterable[str]) -> Tally:
    """Build a tally and check that it adds up, because a row lost in silence is our bug."""
    lost = dict(Counter(reasons))
    assert received == kept + sum(lost.values()), (received, kept, lost)
    return Tally(received, kept, lost)
