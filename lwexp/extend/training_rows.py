"""Training rows: an objective's data, from a source's row to documents with optional numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from lwexp.records import Message, Row


@runtime_checkable
class NamedRow(Protocol):
    """Required of every training row: a ``records.Row`` with an id that is unique in its source."""

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
    """Plural in messages, such as "preference pairs"."""
    row_type: ClassVar[type[Row]]
    section: ClassVar[Literal["sources", "pairs"]] = "sources"
    """The section of ``mixture`` that lists the sources of such rows."""
    answers: ClassVar[Literal["all", "last"]] = "last"
    """Which answers of a document are targets."""
    endings: ClassVar[tuple[str, ...]] = ("",)
    """Suffixes of the document names of a row; every row has this many documents."""
    labels: ClassVar[tuple[str, ...]] = ()
    """Names of the numbers stored with each document, the columns of ``PackBatch.labels``."""
    can_be_held_out: ClassVar[bool] = False
    """Whether the likelihood of held-out documents is meaningful (``training.validation``)."""

    def parse(self, columns: Mapping[str, Any], *, id: str, source: str) -> R:
        """A row of a file or data set.

        Raises:
            BrokenRowError: Naming the column that is missing or wrong.
        """
        raise NotImplementedError

    def arrange(self, rows: Sequence[R]) -> Sequence[R]:
        """Change rows that depend on other rows, keeping their order; by default, unchanged."""
        return rows

    def documents(self, row: R) -> tuple[tuple[Message, ...], ...]:
        """The documents of a row, each ending with an answer."""
        raise NotImplementedError

    def labels_of(self, row: R) -> tuple[tuple[float, ...], ...]:
        """The ``labels`` of each document."""
        return ((),) * len(self.endings)

    def answer_words(self, row: R) -> tuple[int, ...]:
        """Words of each document's answer. The first document is the preferred one."""
        raise NotImplementedError
