"""Metrics score answers. A computed metric needs only the text, a judged one asks a judge, a mean averages others.

@register
class Commas(ComputedMetric):
    kind: Literal["commas"] = "commas"
    name = "commas"
    meaning = "Commas in an answer of 100 words."
    scale = (0, 100)

    def score(self, response: Response) -> float:
        return min(100, 100 * response.text.count(",") / max(1, response.words))
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from lwexp.extend.registry import Registry, kind_of
from lwexp.extend.settings import Strict
from lwexp.records import LwexpError, MetricInfo, Response
from lwexp.text.quoting import code_of, fill

T = TypeVar("T")


class Marks(NamedTuple):
    """An answer's score on the metric's scale, and named parts of it, such as the six dimensions of S_q.

    ``reasons`` are the judge's, by the same names; judgements.jsonl keeps them.
    """

    score: float
    dimensions: Mapping[str, float] = {}
    reasons: Mapping[str, str] = {}


class Question(NamedTuple, Generic[T]):
    """One question to a judge."""

    text: str
    read: Callable[[str], T]  # reads a reply; raises UnreadableError
    reask: Callable[[str], str]  # problem with a reply -> the follow-up message
    schema: type[BaseModel] | None = None  # of the reply, for providers that can enforce one


class JudgePrompt(NamedTuple):
    """The question before its slots are filled. ``name`` is shown next to the judge in tables."""

    name: str
    text: str
    is_own: bool = True  # False for a user's file

    @property
    def sha256(self) -> str:
        """Verdicts are compared only if model and prompt are the same."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Metric(Strict):
    """Base of every metric. ``kind`` is its name in YAML and in verdicts.jsonl."""

    kind: str
    name: ClassVar[str]
    """Its name in tables, columns and summary.json, such as S_l."""
    label: ClassVar[str] = ""
    """The same in running text, such as S-bar; empty takes ``name``."""
    title: ClassVar[str] = ""
    """Heading of figures; empty takes the label."""
    meaning: ClassVar[str]
    """One sentence."""
    scale: ClassVar[tuple[float, float]] = (0, 100)
    """Lowest and highest score; a score outside is an error."""
    higher_is_better: ClassVar[bool] = True
    decimals: ClassVar[int] = 1
    needs_length: ClassVar[bool] = False
    """Whether the score needs a requested length; it is absent for prompts without one."""
    needs_columns: ClassVar[tuple[str, ...]] = ()
    """Further columns that a bench's file must have; they are passed in ``response.details``."""
    needs_judge: ClassVar[bool] = False
    of: ClassVar[tuple[str, ...]] = ()
    """Kinds of the metrics that it averages."""

    @classmethod
    def info(cls) -> MetricInfo:
        """The record stored with an evaluation run, so that a report does not need the metric's code."""
        label = cls.label or cls.name
        return MetricInfo(
            kind=kind_of(cls), name=cls.name, label=label, title=cls.title or label, meaning=cls.meaning,
            scale=cls.scale, higher_is_better=cls.higher_is_better, decimals=cls.decimals,
            needs_length=cls.needs_length, needs_judge=cls.needs_judge, of=cls.of,
        )  # fmt: skip


class ComputedMetric(Metric):
    """Needs only the answer. ``score`` is not called for missing answers; they stay unscored."""

    def score(self, response: Response) -> float | Marks:
        """The score of an answer, which may be empty or cut off."""
        raise NotImplementedError


class JudgedMetric(Metric):
    """Asks a judge. Missing answers stay unscored; empty ones get ``empty`` and are not sent."""

    needs_judge = True
    prompt: ClassVar[str]
    """The question. $REQUEST$ and $RESPONSE$ are replaced by the texts, and $CODE$ by a code for the delimiters around
    them, which does not occur in the texts; further slots come from ``slots``."""

    def slots(self, response: Response) -> Mapping[str, str]:
        """Further slots of the prompt, such as ``{"CHECKS": text}`` for $CHECKS$."""
        return {}

    def read(self, reply: str, response: Response) -> Marks:
        """Read a reply, with ``lwexp.text.replies.read_object``; pass the texts that the question quotes as ``quoted``.

        Raises:
            UnreadableError: If it does not have the requested form. The judge is asked once more; then the answer is
                unscored.
        """
        raise NotImplementedError

    def reask(self, problem: str) -> str:
        """The follow-up message after an unreadable reply."""
        return f"That reply could not be read: {problem}. Reply again, in exactly the form that was asked for."

    def reply_schema(self, response: Response) -> type[BaseModel] | None:
        """JSON schema of a reply, for providers that can enforce one."""
        return None

    def empty(self, response: Response) -> Marks:
        """The worst score, for an empty answer. Left unscored, it would raise its model's mean."""
        return Marks(self.scale[0] if self.higher_is_better else self.scale[1])

    def combine(self, judged: Sequence[Marks]) -> Marks:
        """One verdict from the readable replies of ``judge.repeats``: the mean of each number."""
        names = judged[0].dimensions
        return Marks(
            fmean(marks.score for marks in judged),
            {name: fmean(marks.dimensions[name] for marks in judged) for name in names},
        )

    def judge_prompt(self, file: str | None) -> JudgePrompt:
        """The question, or the user's own prompt.

        Args:
            file: ``judge.prompt``.

        Raises:
            LwexpError: If the metric takes no file, or the file lacks a slot.
        """
        if file is not None:
            raise LwexpError(f"judge.prompt={file}: {self.kind} asks its own question; set judge.prompt=null")
        return JudgePrompt(self.kind, self.prompt)

    def question(self, response: Response, prompt: JudgePrompt) -> Question[Marks]:
        """The question about one answer."""
        slots = self.slots(response)
        code = code_of(response.prompt, response.text, *slots.values())
        values = {**slots, "CODE": code, "REQUEST": response.prompt, "RESPONSE": response.text}
        return Question(
            fill(prompt.text, values), lambda reply: self.read(reply, response), self.reask, self.reply_schema(response)
        )


METRICS: Registry[Metric] = Registry("metric", Metric, ("lwexp.score.metrics",))

STANDARD = ("length", "quality", "mean")
"""Kinds of the paper's metrics: the default of a bench, and of older runs that did not record their metrics."""


def metrics_of(kinds: Sequence[str]) -> tuple[Metric, ...]:
    """Metrics with default settings, by kind."""
    return tuple(METRICS[kind].model_validate({"kind": kind}) for kind in kinds)


def standard_metrics() -> tuple[MetricInfo, ...]:
    """S_l, S_q and their mean."""
    return tuple(METRICS[kind].info() for kind in STANDARD)
