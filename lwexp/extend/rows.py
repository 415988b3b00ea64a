"""Row formats: how various tools write a conversation, a preference pair or an answer as a row of a file."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from lwexp.extend.columns import JsonRow
from lwexp.extend.registry import Registry, register
from lwexp.extend.settings import Strict
from lwexp.records import Message, Sampling


class RawRow(NamedTuple):
    """One row of a file, or the reason why it could not be parsed."""

    number: int  # counted from 1: the line of a .jsonl file (blank lines count), the row of anything else
    unit: Literal["line", "row"]
    value: object
    problem: str | None = None
    place: str = ""  # where the row is found, if unit and number do not say it: "b.jsonl line 3" of a folder


class PairTurns(NamedTuple):
    """A preference pair, as read from its row."""

    prompt: list[Message]
    chosen: str
    rejected: str


# Finish reasons of servers for a text that was broken off; such a text is not used as an answer.
_BROKEN_OFF = {
    "error", "abort", "aborted", "cancelled", "network_error", "insufficient_system_resource", "content_filter",
    "sensitive", "safety", "recitation",
}  # fmt: skip


class GivenAnswer(NamedTuple):
    """An answer written elsewhere, before it is matched with a prompt of the bench."""

    text: str | None  # None: the file says that the answer is missing
    prompt: str | None = None
    ids: tuple[str, ...] = ()  # whatever in the row may be the prompt's id
    bench: str | None = None  # name of the bench that the row says it answers
    is_templated: bool = False  # whether a chat template's markers are around the prompt
    required_words: int | None = None  # as the row has it
    repeat: int = 0
    repeat_in_id: bool = False  # whether an id may end with a repeat's number, such as mine/17#1, to add to repeat
    model: str | None = None
    reasoning: str = ""  # from a field of its own
    finish_reason: str | None = None
    sampling: Sampling | None = None
    scores: Mapping[str, Any] = {}  # by another judge, under the file's names
    judge: str | None = None  # who gave them; None if the row does not say
    failure: str = ""  # why the answer is missing, in the words of the file

    @property
    def is_missing(self) -> bool:
        """Whether there is no text, or the server broke it off."""
        return self.text is None or str(self.finish_reason).lower() in _BROKEN_OFF


F = TypeVar("F", "RowFormat", "PairFormat")


class AnyFormat(Strict):
    """Common base of conversation and pair formats."""

    kind: str
    rank: ClassVar[int] = 0
    """``format: auto`` tries lower numbers first; built-in formats have 10 or more."""

    def detects(self, row: JsonRow) -> bool:
        """Whether a row's columns identify this format. A format that never detects itself must be named."""
        return False


class RowFormat(AnyFormat):
    """A conversation format. A subclass defines ``messages``, and usually ``detects``."""

    def messages(self, row: JsonRow) -> list[Message]:
        """All turns in order: an optional system message, then user and assistant in turn.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        """The first user turn, with the columns of that turn (WildChat marks single turns as toxic).

        Selection reads only this, so a row with a broken answer need not be refused.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        return next((message.content for message in self.messages(row) if message.role == "user"), ""), {}


class PairFormat(AnyFormat):
    """A pair format. A subclass defines ``turns``, and usually ``detects``."""

    def turns(self, row: JsonRow) -> PairTurns:
        """The prompt and both answers.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError


class AnswerFormat(AnyFormat):
    """How a tool writes a model's answers. A subclass defines ``answers`` and ``detects``."""

    tool: ClassVar[str]
    """Name of the tool that writes such rows, as shown to the user."""

    def counted(self, rows: Sequence[tuple[str, JsonRow]]) -> Sequence[tuple[str, JsonRow]]:
        """The rows of a file that count, each with its place; all of them, unless a tool repeats answers."""
        return rows

    def answers(self, row: JsonRow) -> list[GivenAnswer]:
        """The answers that a row holds: one, or one for each repeat.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError


def _builtin(*names: str, room: str = "mix.formats") -> tuple[str, ...]:
    return tuple(f"lwexp.{room}.{name}" for name in names)


ROW_FORMATS = Registry(
    "row format", RowFormat, _builtin("messages", "sharegpt", "alpaca", "wildchat", "prompt_completion", "swift_query")
)
PAIR_FORMATS = Registry("format of preference pairs", PairFormat, _builtin("trl", "ranking", "swift", "alpaca_pairs"))
ANSWER_FORMATS = Registry(
    "format of answers", AnswerFormat,
    _builtin("openai_batch", "inspect_log", "lm_eval", "evalscope", "opencompass", "llama_factory", "chat", "plain",
             room="sample.answer_formats"),
)  # fmt: skip


@register
class AutoFormat(RowFormat):
    """The first row whose format can be recognised sets the format of the whole file."""

    kind: Literal["auto"] = "auto"


@register
class AutoPairFormat(PairFormat):
    """The first row whose format can be recognised sets the format of the whole file."""

    kind: Literal["auto"] = "auto"


def format_of(row: object, wanted: F) -> F | None:
    """The format for a row: the wanted one or, with ``auto``, the first that detects itself in the row.

    A format with a setting that has no default must be named.
    """
    if wanted.kind != "auto":
        return wanted
    registry: Registry[Any] = ROW_FORMATS if isinstance(wanted, RowFormat) else PAIR_FORMATS
    ready = [cls for _, cls in registry.items() if not any(field.is_required() for field in cls.model_fields.values())]
    known = [cls() for cls in sorted(ready, key=lambda cls: cls.rank)]
    return next((format for format in known if isinstance(row, Mapping) and format.detects(row)), None)
