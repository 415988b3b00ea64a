"""Row types that rooms exchange, and the JSONL and Parquet files that hold them.

Every file holds rows of one type. Failures are rows of their own (``Failure``), never text inside
another row. Readers name the file and the line of a bad row; what happens to it is the caller's choice.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Language = Literal["en", "zh"]
Role = Literal["system", "user", "assistant"]


class LwexpError(Exception):
    """A mistake the user can mend. Entry scripts print it in one line and exit with code 2."""


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
    """One paragraph's line in a plan: its main point and its word count."""

    point: str
    words: int = Field(gt=0)


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
    """One prompt of a bench, with the length it asks for."""

    id: str
    text: str
    language: Language
    type: str
    required_words: int = Field(gt=0)


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
    required_words: int = Field(gt=0)
    text: str
    words: int = Field(ge=0)
    finish_reason: Literal["stop", "length", "error"]
    model: str
    sampling: Sampling


class Verdict(Row):
    """A score of one response, or the reason there is none. ``score`` is on 0..100."""

    response_id: str
    kind: Literal["length", "quality"]
    scorer: str  # "S_l" or the judge's model name
    score: float | None = Field(ge=0, le=100)
    dimensions: dict[str, float] = {}
    unscored_reason: str | None = None


class Failure(Row):
    """Something that was asked for and did not come: typed, counted, never stored as text elsewhere."""

    id: str
    stage: str
    reason: str  # a short stable word: "refusal", "too_short", "bad_plan", "time_out", ...
    detail: str
    attempts: int = Field(ge=0)


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


R = TypeVar("R", bound=Row)


class BadRow(NamedTuple):
    """A line that is not a row of the wanted type."""

    line: int
    problem: str


def read_rows(path: Path, row_type: type[R]) -> Iterator[R]:
    """Yield the rows of a JSONL file.

    Raises:
        LwexpError: At the first bad row, with file, line and what is wrong with it.
    """
    for item in scan_rows(path, row_type):
        if isinstance(item, BadRow):
            raise LwexpError(f"{path} line {item.line}: not a {row_type.__name__}: {item.problem}")
        yield item


def scan_rows(path: Path, row_type: type[R]) -> Iterator[R | BadRow]:
    """Yield the rows of a JSONL file, and a ``BadRow`` in place of each line that is none."""
    if not path.is_file():
        raise LwexpError(f"{path} does not exist (wanted: a JSONL file of {row_type.__name__} rows)")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield row_type.model_validate_json(line)
            except ValidationError as error:
                yield BadRow(number, first_problem(error))


def first_problem(error: ValidationError) -> str:
    """The first complaint of pydantic in one line: field, message, and how many more there are."""
    problems = error.errors(include_url=False)
    where = ".".join(str(part) for part in problems[0]["loc"]) or "row"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{where}: {problems[0]['msg']}{more}"


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a JSONL file in one step (aside, then renamed) and return how many."""
    aside = path.with_name(path.name + ".tmp")
    count = 0
    with aside.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(row.model_dump_json() + "\n")
            count += 1
        out.flush()
        os.fsync(out.fileno())
    aside.replace(path)
    return count


class RowLog:
    """An append-only JSONL file that survives ``kill -9``: rows are flushed one by one.

    Opening an existing log cuts a torn last line (a kill in mid-write) off; earlier rows are kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _cut_torn_tail(path)
        self._out = path.open("a", encoding="utf-8")

    def append(self, row: Row) -> None:
        """Write one row and hand it to the operating system at once."""
        self._out.write(row.model_dump_json() + "\n")
        self._out.flush()

    def close(self) -> None:
        """Close the file after it has reached the disk."""
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()

    def __enter__(self) -> RowLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cut_torn_tail(path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def write_parquet(path: Path, rows: Iterable[Row]) -> None:
    """Write rows to Parquet, the columnar twin of the JSONL file (pyarrow is imported here only)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    aside = path.with_name(path.name + ".tmp")
    pq.write_table(pa.Table.from_pylist([row.model_dump(mode="json") for row in rows]), aside)
    aside.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write one JSON value in one step (aside, then renamed)."""
    aside = path.with_name(path.name + ".tmp")
    aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    aside.replace(path)
