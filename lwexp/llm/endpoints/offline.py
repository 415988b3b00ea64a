"""The stand-ins that need no key, behind a litellm custom provider (``lwexp.llm.offline``)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from lwexp.extend.endpoint import AskedJudge, Endpoint, Teacher
from lwexp.extend.registry import register
from lwexp.extend.settings import Key


class _Offline(Endpoint):
    is_free: ClassVar[bool] = True

    kind: Literal["offline"] = "offline"
    temperature: float = Field(ge=0, le=2)
    """Sampling temperature; 0 always gives the same answer."""

    def prepare(self, litellm: Any) -> None:
        from lwexp.llm.offline.provider import make_known

        make_known()


@register
class OfflineTeacher(_Offline, Teacher):
    """A seeded text grammar."""

    model: Literal["offline/teacher"] = "offline/teacher"
    """Name stored with each answer."""
    paragraph_words: int = Field(ge=15)
    """Words planned per paragraph (real teachers are asked for 200 to 1,000)."""
    length_noise: Annotated[float, Key(formerly="miss")] = Field(ge=0, lt=1)
    """Its plans add up to the requested length times 1 + u, u uniform in [-length_noise, +length_noise]."""

    @property
    def paragraph_length(self) -> int:
        return self.paragraph_words

    def parameters(self) -> dict[str, Any]:
        return {"paragraph_words": self.paragraph_words, "length_noise": self.length_noise}


@register
class OfflineJudge(_Offline, AskedJudge):
    """A heuristic, labelled as such. Its S_q is never shown beside a real judge's."""

    model: Literal["offline/judge"] = "offline/judge"
    """Name stored with each verdict."""

    @model_validator(mode="after")
    def repeats_differ(self) -> OfflineJudge:
        """The judge is deterministic, so a second opinion would repeat the first."""
        if self.repeats > 1:
            raise ValueError("judge.repeats: the offline judge always gives the same scores; set judge.repeats=1")
        return self
