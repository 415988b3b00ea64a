"""Row formats: how one tool or another writes a conversation or a preference pair in a row of a file."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from lwexp.extend.columns import JsonRow
from lwexp.extend.registry import Registry, register
from lwexp.extend.settings import Strict
from lwexp.records import Message


class RawRow(NamedTuple):
    """One row of a file, or the reason why it could not be parsed."""

    number: int  # counted from 1: the line of a .jsonl file (blank lines count), the row of anything else
    unit: Literal["line", "row"]
    value: object
    problem: str | None = None


class PairTurns(NamedTuple):
    """A preference pair as its row says it."""

    prompt: list[Message]
    chosen: str
    rejected: str


F = TypeVar("F", "RowFormat", "PairFormat")


class AnyFormat(Strict):
    """What formats of conversations and of pairs share."""

    kind: str
    rank: ClassVar[int] = 0
    """``format: auto`` asks lower ones first; lwexp's own have 10 and more."""

    def detects(self, row: JsonRow) -> bool:
        """Whether the columns of a row tell this format. Without an answer it is taken only where it is named."""
        return False


class RowFormat(AnyFormat):
    """Conversations of one shape. A subclass says ``messages``, and mostly ``detects``."""

    def messages(self, row: JsonRow) -> list[Message]:
        """All turns in order: system where there is one, then user and assistant in turn.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError

    def question(self, row: JsonRow) -> tuple[str, JsonRow]:
        """The first thing a user asks, with columns of that turn alone (WildChat marks single turns as toxic).

        This is all that selection reads, so a format may let broken answers pass here.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        return next((message.content for message in self.messages(row) if message.role == "user"), ""), {}


class PairFormat(AnyFormat):
    """Preference pairs of one shape. A subclass says ``turns``, and mostly ``detects``."""

    def turns(self, row: JsonRow) -> PairTurns:
        """The prompt and both answers.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError


def _builtin(*names: str) -> tuple[str, ...]:
    return tuple(f"lwexp.mix.formats.{name}" for name in names)


ROW_FORMATS = Registry("row format", RowFormat, _builtin("messages", "sharegpt", "alpaca", "wildchat"))
PAIR_FORMATS = Registry("format of preference pairs", PairFormat, _builtin("trl", "ranking", "swift", "alpaca_pairs"))


@register
class AutoFormat(RowFormat):
    """The first row that tells a format sets it for the whole file."""

    kind: Literal["auto"] = "auto"


@register
class AutoPairFormat(PairFormat):
    """The first row that tells a format sets it for the whole file."""

    kind: Literal["auto"] = "auto"


def format_of(row: object, wanted: F) -> F | None:
    """The format to read a row with: the wanted one, or with ``auto`` the first that detects itself in the row.

    A format with a setting that has no default is taken only where it is named.
    """
    if wanted.kind != "auto":
        return wanted
    registry: Registry[Any] = ROW_FORMATS if isinstance(wanted, RowFormat) else PAIR_FORMATS
    ready = [cls for _, cls in registry.items() if not any(field.is_required() for field in cls.model_fields.values())]
    known = [cls() for cls in sorted(ready, key=lambda cls: cls.rank)]
    return next((format for format in known if isinstance(row, Mapping) and format.detects(row)), None)
