"""Training rows: what an objective trains on, from a source's row to token documents with numbers beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from lwexp.records import Message, Row


@runtime_checkable
class NamedRow(Protocol):
    """What every training row has: a ``records.Row`` with a name of its own in its source."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...


R = TypeVar("R", bound=NamedRow)


class TrainingRows(Generic[R]):
    """One kind of rows. The documents of a row are packed together."""

    kind: ClassVar[str]
    """Short name, part of the fingerprint of packs."""
    plural: ClassVar[str]
    """What several are called in messages, such as "preference pairs"."""
    row_type: ClassVar[type[Row]]
    section: ClassVar[Literal["sources", "pairs"]] = "sources"
    """The part of ``mixture`` that names their sources."""
    answers: ClassVar[Literal["all", "last"]] = "last"
    """Which answers of a document are targets."""
    endings: ClassVar[tuple[str, ...]] = ("",)
    """One for each document of a row: what its name ends in. Every row has as many documents."""
    labels: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers that are kept for each document, the columns of ``PackBatch.labels``."""
    can_be_held_out: ClassVar[bool] = False
    """Whether the likelihood of held-out documents says something about training (``training.validation``)."""

    def parse(self, columns: Mapping[str, Any], *, id: str, source: str) -> R:
        """A row of a file or data set.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError

    def arrange(self, rows: Sequence[R]) -> Sequence[R]:
        """The drawn rows in their order, with whatever one row takes from another; unchanged by default."""
        return rows

    def documents(self, row: R) -> tuple[tuple[Message, ...], ...]:
        """The documents of a row, each ending with an answer."""
        raise NotImplementedError

    def labels_of(self, row: R) -> tuple[tuple[float, ...], ...]:
        """The ``labels`` of each document."""
        return ((),) * len(self.endings)

    def answer_words(self, row: R) -> tuple[int, ...]:
        """Words of each document's answer. The first document is the one that is trained towards."""
        raise NotImplementedError
