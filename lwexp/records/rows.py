"""Row types that rooms exchange. A failure is a separate row (``Failure``), never text in another row."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Language = Literal["en", "zh"]
Role = Literal["system", "user", "assistant"]


class LwexpError(Exception):
    """A mistake that the user can fix. Entry scripts print it in one line and exit with code 2.

    Args:
        lines: One for each mistake.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Preempted(BaseException):
    """Raised after SIGTERM, once everything done so far is saved. Entry scripts exit with code 143."""


class Row(BaseModel):
    """Base of every row: immutable, and strict about unknown columns.

    The validator is built at first use, because a command uses few of the types.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Build a plugin's type now: a mistake in it is then named, with its line, when the plugin is loaded."""
        if not cls.__module__.startswith("lwexp."):
            cls.model_rebuild(raise_errors=False)


# Omitted from files if empty, so that rows and ids of models that do not reason do not change.
Reasoning = Annotated[str, Field(exclude_if=lambda text: not text)]


class Message(Row):
    """One turn of a conversation."""

    role: Role
    content: str
    # 0: an answer that is context only and carries no loss, as in OpenAI's fine-tuning files; absent otherwise.
    weight: int | None = Field(default=None, ge=0, le=0, exclude_if=lambda weight: weight is None)


class Instruction(Row):
    """What a user asks for."""

    id: str
    text: str
    language: Language
    source: str
    required_words: int | None = Field(default=None, gt=0)


class PlanStep(Row):
    """The plan of one paragraph: its main point and its word count.

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
        return sum(step.words for step in self.steps)


class Draft(Row):
    """AgentWrite step II: one paragraph for each step of the plan; joined by blank lines they are the output."""

    id: str
    instruction: Instruction
    plan: Plan
    paragraphs: tuple[str, ...]
    finish_reasons: tuple[str, ...]
    teacher: str
    cost_usd: float = Field(ge=0)

    @property
    def text(self) -> str:
        return "\n\n".join(self.paragraphs)


class StepTrace(Row):
    """The call for one paragraph."""

    cost_usd: float = Field(ge=0)
    attempts: int = Field(ge=1)
    cleaned: tuple[str, ...]  # cleaning rules that changed the paragraph


class Trace(Row):
    """The calls for one draft, under its id. Not part of the draft, because two runs may need different attempts
    for equal texts."""

    id: str
    plan_cost_usd: float = Field(ge=0)
    plans_asked: int = Field(ge=0)  # 2 if the first plan could not be used
    steps: tuple[StepTrace, ...]


class Conversation(Row):
    """Messages for SFT, with their provenance."""

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
    # The reasoning before each answer, in order; absent if there is none.
    reasoning: tuple[str, ...] | None = Field(default=None, exclude_if=lambda texts: texts is None)


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
    chosen_reasoning: str | None = Field(default=None, exclude_if=lambda text: text is None)
    rejected_reasoning: str | None = Field(default=None, exclude_if=lambda text: text is None)


class Failure(Row):
    """Something requested but not delivered: typed and counted, never stored as text in another row."""

    id: str
    stage: str
    reason: str  # a short stable word: "refusal", "too_short", "bad_plan", "time_out", ...
    detail: str
    attempts: int = Field(ge=0)
    # Beginning of the reply that could not be used, if there was one.
    reply: Annotated[str, Field(exclude_if=lambda text: not text)] = ""


def prompt_sha(prompt: Sequence[Message]) -> str:
    """Identify a prompt across data sets: sha256 of its texts, as 64 hex digits.

    For a single message it is the plain sha256 of its UTF-8 text; several texts are joined by a zero byte.
    """
    text = "\0".join(message.content for message in prompt)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def turn_problem(messages: Sequence[Message], *, last: Literal["user", "assistant"]) -> str | None:
    """What is wrong with the order of messages, or None.

    They must be an optional system message, then user and assistant in turn, ending with ``last``. In any other
    order some answer would have no end token to learn.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    for index, message in enumerate(turns):
        wanted = ("user", "assistant")[index % 2]
        if message.role != wanted:
            return f"message {index + len(messages) - len(turns)} is from {message.role}, wanted {wanted}"
    if not turns:
        return f"has no turn, wanted {last} at the end"
    return None if turns[-1].role == last else f"ends with {turns[-1].role}, wanted {last} at the end"


class Tally(NamedTuple):
    """Counts of a step. They must add up: rows received = rows kept + rows lost for each reason."""

    received: int
    kept: int
    lost: dict[str, int]

    def __str__(self) -> str:
        """``6,000 in = 5,812 kept + 131 refused + 57 too long``."""
        losses = "".join(f" + {n:,} {reason.replace('_', ' ')}" for reason, n in sorted(self.lost.items()))
        return f"{self.received:,} in = {self.kept:,} kept{losses}"


def tally(received: int, kept: int, reasons: Iterable[str]) -> Tally:
    """Build a tally and check that it adds up: a row lost without a reason is a bug in lwexp."""
    lost = dict(Counter(reasons))
    assert received == kept + sum(lost.values()), (received, kept, lost)
    return Tally(received, kept, lost)
