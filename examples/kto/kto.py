"""KTO (Ethayarajh et al. 2024, arXiv 2402.01306): learns from single answers labelled good or bad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from lwexp.extend import BrokenRowError, Known, Objective, PackLoss, StepTotals, TrainingRows, register
from lwexp.extend.columns import JsonRow, require_text
from lwexp.records import Message, Row
from lwexp.text.words import count_words


class JudgedAnswer(Row):
    id: str
    source: str
    prompt: str
    answer: str
    is_good: bool
    other: str = ""
    """The next row's answer. How likely the policy finds it after this prompt estimates its KL from the reference."""


class JudgedRows(TrainingRows[JudgedAnswer]):
    """A row becomes two documents, its own answer and the next row's, both stored with the row's ``is_good``."""

    kind, plural, row_type = "judged", "judged answers", JudgedAnswer
    endings, labels = ("", "/other"), ("is_good",)

    def parse(self, columns: JsonRow, *, id: str, source: str) -> JudgedAnswer:
        if not isinstance(columns.get("label"), bool):
            raise BrokenRowError("wrong_type", "label is missing, or neither true nor false")
        prompt, answer = require_text(columns, "prompt"), require_text(columns, "completion")
        return JudgedAnswer(id=id, source=source, prompt=prompt, answer=answer, is_good=columns["label"])

    def arrange(self, rows: Sequence[JudgedAnswer]) -> list[JudgedAnswer]:
        following = [*rows[1:], *rows[:1]]
        return [row.model_copy(update={"other": n.answer}) for row, n in zip(rows, following, strict=True)]

    def documents(self, row: JudgedAnswer) -> tuple[tuple[Message, ...], ...]:
        prompt = Message(role="user", content=row.prompt)
        return tuple((prompt, Message(role="assistant", content=text)) for text in (row.answer, row.other))

    def labels_of(self, row: JudgedAnswer) -> tuple[tuple[float, ...], ...]:
        return ((float(row.is_good),),) * 2

    def answer_words(self, row: JudgedAnswer) -> tuple[int, ...]:
        return count_words(row.answer), count_words(row.other)


@register
class KTO(Objective):
    """Mean over the step's rows of w (1 - sigmoid(+-beta (r - kl))); r is the log-ratio of policy to reference.

    ``kl`` is the mean log-ratio of the other answers, at least 0. It is taken over a pack, as the paper takes it over a
    batch.
    """

    kind: Literal["kto"] = "kto"
    beta: float = Field(gt=0)
    good_weight: float = Field(ge=0)
    bad_weight: float = Field(ge=0)

    rows: ClassVar[JudgedRows] = JudgedRows()
    starts_from_run: ClassVar[bool] = True

    @property
    def needs_reference(self) -> bool:
        return True

    def pack_loss(self, logprobs: Any, batch: Any, totals: StepTotals, known: Known) -> PackLoss:
        from lwexp.train.objectives.losses import sequence_logprobs

        policy = sequence_logprobs(logprobs, batch.target_documents, len(batch.lengths))
        ratios = policy - known.reference.logprobs(batch, like=policy)
        answers, others, is_good = ratios[0::2], ratios[1::2], batch.labels[0::2, 0] > 0
        kl = others.detach().mean().clamp(min=0)
        signs = is_good.to(policy) * 2 - 1
        weights = is_good * self.good_weight + ~is_good * self.bad_weight
        losses = weights * (1 - (self.beta * signs * (answers - kl)).sigmoid())
        rows_of_step = totals.documents / 2
        right = (signs * (answers - kl) > 0).to(policy)
        watched = {"kto_kl": kl * len(answers), "kto_right": right.sum()}
        return PackLoss(losses.sum() / rows_of_step, {name: value / rows_of_step for name, value in watched.items()})
